//! Writes a profile as pprof's protobuf.

use std::{
    collections::HashMap,
    io::{self, Write},
    time::UNIX_EPOCH,
};

use flate2::{Compression, write::GzEncoder};
use prost::Message;
use rtops_protocol::{ModuleKind, TaskKind};
use rtops_report::escape::escape;
use rtops_symbols::Segment;

use super::{
    Profile, proto, remarks,
    sample::{Call, Line, Sample, Way, samples},
};

/// The sample type that counts each task once.
const TASKS: &str = "tasks";
/// The sample type that counts each place where a task, or a span on its own, waits.
const WAITS: &str = "waits";
const COUNT: &str = "count";

/// Writes the gzipped protobuf.
pub(super) fn write(profile: &Profile, writer: &mut impl Write) -> io::Result<()> {
    let message = message(profile).encode_to_vec();
    let mut encoder = GzEncoder::new(writer, Compression::default());
    encoder.write_all(&message)?;
    encoder.finish()?.flush()
}

pub(super) fn message(profile: &Profile) -> proto::Profile {
    let mut tables = Tables::new(profile);
    let mut all = Vec::new();
    for sample in samples(profile) {
        for (number, way) in sample.ways.iter().enumerate() {
            all.push(tables.sample(&sample, way, number == 0));
        }
    }
    let sample_type = vec![
        tables.value_type(TASKS, COUNT),
        tables.value_type(WAITS, COUNT),
    ];
    let comments = remarks(profile).map(|text| tables.text(&text)).collect();
    let since_epoch = profile.taken.duration_since(UNIX_EPOCH).unwrap_or_default();
    proto::Profile {
        sample: all,
        comment: comments,
        time_nanos: number(since_epoch.as_nanos()),
        period_type: Some(tables.value_type(TASKS, COUNT)),
        period: 1,
        default_sample_type: tables.text(TASKS),
        sample_type,
        mapping: tables.mappings,
        location: tables.locations,
        function: tables.functions,
        string_table: tables.texts,
    }
}

/// The number of a function, and the line and column in it.
type LineKey = (u64, u32, u32);

/// The tables that samples refer to by number.
#[derive(Default)]
struct Tables {
    texts: Vec<String>,
    text_numbers: HashMap<String, i64>,
    mappings: Vec<proto::Mapping>,
    functions: Vec<proto::Function>,
    /// By name, full name and file.
    function_ids: HashMap<(i64, i64, i64), u64>,
    locations: Vec<proto::Location>,
    /// By address and lines: the frames folded away around the same call may
    /// differ from stack to stack.
    location_ids: HashMap<(u64, Vec<LineKey>), u64>,
}

impl Tables {
    fn new(profile: &Profile) -> Self {
        let mut tables = Self::default();
        tables.text("");
        let mut modules = profile.dump.modules.iter();
        let main = modules
            .find(|module| module.kind == ModuleKind::MainExecutable)
            .map(|module| module.path.as_str());
        let (first, others): (Vec<&Segment>, Vec<&Segment>) = profile
            .segments
            .iter()
            .partition(|segment| Some(segment.path.as_str()) == main);
        for segment in first.into_iter().chain(others) {
            tables.mapping(segment);
        }
        tables
    }

    fn text(&mut self, text: &str) -> i64 {
        if let Some(number) = self.text_numbers.get(text) {
            return *number;
        }
        let number = number(self.texts.len());
        self.texts.push(text.to_owned());
        self.text_numbers.insert(text.to_owned(), number);
        number
    }

    fn value_type(&mut self, name: &str, unit: &str) -> proto::ValueType {
        proto::ValueType {
            r#type: self.text(name),
            unit: self.text(unit),
        }
    }

    fn mapping(&mut self, segment: &Segment) {
        let build_id = segment.build_id.iter();
        let build_id: String = build_id.map(|byte| format!("{byte:02x}")).collect();
        let mapping = proto::Mapping {
            id: next_id(&self.mappings),
            memory_start: segment.memory.start,
            memory_limit: segment.memory.end,
            file_offset: segment.file_offset.0,
            filename: self.text(&escape(&segment.path)),
            build_id: self.text(&build_id),
            has_functions: segment.has_functions,
            has_filenames: segment.has_lines,
            has_line_numbers: segment.has_lines,
            has_inline_frames: segment.has_lines,
        };
        self.mappings.push(mapping);
    }

    /// The tasks of a sample are counted with only one of its paths.
    fn sample(&mut self, sample: &Sample, way: &Way, is_first: bool) -> proto::Sample {
        let count = number(sample.tasks.len());
        let is_task = sample.kind != TaskKind::Span;
        let tasks = if is_task && is_first { count } else { 0 };
        proto::Sample {
            location_id: way.calls.iter().map(|call| self.location(call)).collect(),
            value: vec![tasks, count],
            label: sample
                .labels(way.wait)
                .into_iter()
                .map(|(key, text)| proto::Label {
                    key: self.text(key),
                    str: self.text(&escape(&text)),
                })
                .collect(),
        }
    }

    fn location(&mut self, call: &Call) -> u64 {
        let lines = call.lines.iter();
        let lines: Vec<LineKey> = lines
            .map(|line| (self.function(line), line.line, line.column))
            .collect();
        let key = (call.address, lines);
        if let Some(id) = self.location_ids.get(&key) {
            return *id;
        }
        let mut mappings = self.mappings.iter();
        let mapping = mappings
            .find(|mapping| (mapping.memory_start..mapping.memory_limit).contains(&call.address));
        let location = proto::Location {
            id: next_id(&self.locations),
            mapping_id: mapping.map_or(0, |mapping| mapping.id),
            address: call.address,
            line: key
                .1
                .iter()
                .map(|(function_id, line, column)| proto::Line {
                    function_id: *function_id,
                    line: i64::from(*line),
                    column: i64::from(*column),
                })
                .collect(),
        };
        let id = location.id;
        self.locations.push(location);
        self.location_ids.insert(key, id);
        id
    }

    fn function(&mut self, line: &Line) -> u64 {
        let name = self.text(&line.name);
        let system_name = self.text(&line.full_name);
        let filename = self.text(&line.file);
        let key = (name, system_name, filename);
        if let Some(id) = self.function_ids.get(&key) {
            return *id;
        }
        let id = next_id(&self.functions);
        self.functions.push(proto::Function {
            id,
            name,
            system_name,
            filename,
        });
        self.function_ids.insert(key, id);
        id
    }
}

fn next_id<T>(entries: &[T]) -> u64 {
    u64::try_from(entries.len()).map_or(u64::MAX, |count| count.saturating_add(1))
}

fn number(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}
