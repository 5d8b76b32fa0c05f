//! The line table of a unit.

use std::{cell::RefCell, collections::HashMap, mem, ops::Range, sync::Arc};

use gimli::{
    AttributeValue, ColumnType, DebugLine, DebugLineOffset, EndianReader, IncompleteLineProgram,
    LineInstruction, LineInstructions, LineRow, LittleEndian,
};

use super::{
    EASY,
    entry::Numbers,
    sections::{Part, Sections, Value},
    units::Root,
};
use crate::{ReadError, Resource};

type Bytes = EndianReader<LittleEndian, Arc<[u8]>>;

/// The maximum size of a unit's line table, in bytes.
const LONGEST: u64 = 256 << 20;
/// The maximum number of fields that a table has for each file; fewer are defined.
const MAX_FORMATS: u64 = 16;
/// How many rows are looked at to find one that has the answer.
const MAX_ROWS: usize = 64;

fn malformed<T>(_: T) -> ReadError {
    ReadError::Malformed("a line table")
}

/// A line table. Its rows are computed when they are first asked for.
#[derive(Debug)]
pub(super) struct Lines {
    program: RefCell<IncompleteLineProgram<Bytes>>,
    /// Sorted by their first address.
    sequences: Vec<Sequence>,
    rows: RefCell<HashMap<usize, Arc<[Row]>>>,
    files: RefCell<HashMap<u64, Option<String>>>,
}

/// Rows with ascending addresses.
#[derive(Debug)]
struct Sequence {
    /// The address of the first row.
    start: u64,
    instructions: LineInstructions<Bytes>,
}

/// The place in the source of the instructions from an address on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) address: u64,
    pub(super) file: u32,
    pub(super) line: u32,
    pub(super) column: u32,
}

impl Lines {
    /// Reads the table of a unit; `None` if it has none. The table ends at
    /// anything that makes no sense.
    pub(super) fn read(
        sections: &Sections,
        root: &Root,
    ) -> Result<Option<(Self, Option<ReadError>)>, ReadError> {
        let Some(start) = root.lines else {
            return Ok(None);
        };
        let bytes = table_at(sections, start)?;
        check(sections, &bytes)?;
        let bytes = EndianReader::new(bytes, LittleEndian);
        let size = root.bases.encoding.address_size;
        let program = DebugLine::from(bytes).program(DebugLineOffset(0), size, None, None);
        let program = program.map_err(malformed)?;
        let mut sequences = Vec::new();
        let fault = read_sequences(sections, &program, &mut sequences).err();
        // If several begin at one address, the last one counts.
        sequences.sort_by_key(|one: &Sequence| one.start);
        let lines = Self {
            program: RefCell::new(program),
            sequences,
            rows: RefCell::default(),
            files: RefCell::default(),
        };
        Ok(Some((lines, fault)))
    }

    /// Returns the row for an address.
    pub(super) fn at(&self, sections: &Sections, address: u64) -> Result<Option<Row>, ReadError> {
        let rows = self.around(sections, address)?;
        // If several rows are for one address, the last one counts.
        let behind = rows.partition_point(|row| row.address <= address);
        Ok(behind
            .checked_sub(1)
            .and_then(|index| rows.get(index))
            .copied())
    }

    /// Returns the rows of a range of addresses, at most [`MAX_ROWS`] from its start on.
    pub(super) fn within(
        &self,
        sections: &Sections,
        addresses: &Range<u64>,
    ) -> Result<Vec<Row>, ReadError> {
        let rows = self.around(sections, addresses.start)?;
        let first = rows.partition_point(|row| row.address < addresses.start);
        let rows = rows.get(first..).unwrap_or_default().iter();
        let rows = rows.take_while(|row| row.address < addresses.end);
        Ok(rows.take(MAX_ROWS).copied().collect())
    }

    /// Returns the wanted rows of all code, at most `most`.
    pub(super) fn all(
        &self,
        sections: &Sections,
        is_wanted: impl Fn(&Row) -> bool,
        most: usize,
    ) -> Result<Vec<Row>, ReadError> {
        let mut found = Vec::new();
        for index in 0..self.sequences.len() {
            let rows = self.rows(sections, index)?;
            // The last row is the end of the sequence.
            let work = rows.len() as u64 / EASY;
            sections.budget().pay(Resource::Steps, work)?;
            let rows = rows.get(..rows.len().saturating_sub(1)).unwrap_or_default();
            let wanted = rows.iter().filter(|row| is_wanted(row));
            found.extend(wanted.take(most - found.len()).copied());
        }
        Ok(found)
    }

    /// Returns the rows of the sequence that an address is in.
    fn around(&self, sections: &Sections, address: u64) -> Result<Arc<[Row]>, ReadError> {
        let behind = self
            .sequences
            .partition_point(|sequence| sequence.start <= address);
        let Some(index) = behind.checked_sub(1) else {
            return Ok(Arc::from([]));
        };
        let rows = self.rows(sections, index)?;
        // The last row is the end of the sequence.
        let is_inside = rows.last().is_some_and(|end| address < end.address);
        Ok(if is_inside { rows } else { Arc::from([]) })
    }

    /// Returns the rows of a sequence.
    fn rows(&self, sections: &Sections, index: usize) -> Result<Arc<[Row]>, ReadError> {
        if let Some(known) = self.rows.borrow().get(&index) {
            return Ok(Arc::clone(known));
        }
        let rows = match self.sequences.get(index) {
            Some(sequence) => self.read_rows(sections, sequence)?,
            None => Arc::from([]),
        };
        self.rows.borrow_mut().insert(index, Arc::clone(&rows));
        Ok(rows)
    }

    fn read_rows(&self, sections: &Sections, sequence: &Sequence) -> Result<Arc<[Row]>, ReadError> {
        let mut rows = Vec::new();
        let mut program = self.program.borrow_mut();
        let mut instructions = sequence.instructions.clone();
        run(sections, &mut program, &mut instructions, |row| {
            sections.budget().pay(Resource::Rows, 1)?;
            let column = match row.column() {
                ColumnType::LeftEdge => 0,
                ColumnType::Column(column) => column.get(),
            };
            rows.push(Row {
                address: row.address(),
                file: u32::try_from(row.file_index()).unwrap_or(u32::MAX),
                line: row
                    .line()
                    .map_or(0, |line| u32::try_from(line.get()).unwrap_or(0)),
                column: u32::try_from(column).unwrap_or(0),
            });
            Ok(())
        })?;
        Ok(rows.into())
    }

    /// Returns the path of a source file.
    pub(super) fn file(
        &self,
        sections: &Sections,
        root: &Root,
        index: u64,
    ) -> Result<Option<String>, ReadError> {
        if let Some(known) = self.files.borrow().get(&index) {
            return Ok(known.clone());
        }
        let path = self.read_file(sections, root, index)?;
        self.files.borrow_mut().insert(index, path.clone());
        Ok(path)
    }

    fn read_file(
        &self,
        sections: &Sections,
        root: &Root,
        index: u64,
    ) -> Result<Option<String>, ReadError> {
        let text = |value: AttributeValue<Bytes>| match &value {
            AttributeValue::String(text) => {
                let bytes: &[u8] = text;
                Ok(Some(String::from_utf8_lossy(bytes).into_owned()))
            }
            AttributeValue::DebugStrRef(offset) => {
                sections.text(Value::DebugStrRef(*offset), &root.bases)
            }
            AttributeValue::DebugLineStrRef(offset) => {
                sections.text(Value::DebugLineStrRef(*offset), &root.bases)
            }
            AttributeValue::DebugStrOffsetsIndex(index) => {
                sections.text(Value::DebugStrOffsetsIndex(*index), &root.bases)
            }
            _ => Ok(None),
        };
        let program = self.program.borrow();
        let header = program.header();
        let Some(file) = header.file(index) else {
            return Ok(None);
        };
        let Some(name) = text(file.path_name())? else {
            return Ok(None);
        };
        let directory = match file.directory(header) {
            Some(directory) => text(directory)?,
            None => None,
        };
        let mut path = root.directory.clone().unwrap_or_default();
        for part in directory.into_iter().chain([name]) {
            if part.starts_with('/') {
                path = part;
            } else {
                if !path.is_empty() && !path.ends_with('/') {
                    path.push('/');
                }
                path.push_str(&part);
            }
        }
        sections.budget().pay(Resource::Names, path.len() as u64)?;
        Ok(Some(path))
    }
}

/// Returns the bytes of the table that begins here.
fn table_at(sections: &Sections, start: u64) -> Result<Arc<[u8]>, ReadError> {
    let contents = sections.get(Part::Lines)?;
    let head = contents.get(start, 12, sections.budget())?;
    let (first, rest) = head.split_first_chunk::<4>().ok_or_else(|| malformed(()))?;
    let size = match u32::from_le_bytes(*first) {
        u32::MAX => {
            let (length, _) = rest.split_first_chunk::<8>().ok_or_else(|| malformed(()))?;
            u64::from_le_bytes(*length).saturating_add(12)
        }
        length => u64::from(length) + 4,
    };
    if size > LONGEST {
        return Err(ReadError::TooLarge("a line table"));
    }
    let bytes = contents.get(start, size, sections.budget())?;
    Ok(Arc::from(&*bytes))
}

fn read_sequences(
    sections: &Sections,
    program: &IncompleteLineProgram<Bytes>,
    sequences: &mut Vec<Sequence>,
) -> Result<(), ReadError> {
    let header = program.header();
    let mut instructions = header.instructions();
    let mut steps = sections.budget().steps();
    let (mut from, mut start) = (instructions.clone(), None);
    // Sequences are run only when they are asked for.
    while let Some(instruction) = instructions.next_instruction(header).map_err(malformed)? {
        steps.take()?;
        match instruction {
            LineInstruction::SetAddress(address) => start = start.or(Some(address)),
            LineInstruction::EndSequence => {
                let from = mem::replace(&mut from, instructions.clone());
                // Code that the linker left out is at address zero.
                if let Some(start) = start.take().filter(|start| *start != 0) {
                    // A sequence takes as much memory as this many rows.
                    sections.budget().pay(Resource::Rows, 3)?;
                    sequences.push(Sequence {
                        start,
                        instructions: from,
                    });
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Runs a sequence to its end, and passes each row to `show`.
fn run(
    sections: &Sections,
    program: &mut IncompleteLineProgram<Bytes>,
    instructions: &mut LineInstructions<Bytes>,
    mut show: impl FnMut(&LineRow) -> Result<(), ReadError>,
) -> Result<(), ReadError> {
    let mut row = LineRow::new(program.header());
    let mut steps = sections.budget().steps();
    while let Some(instruction) = instructions
        .next_instruction(program.header())
        .map_err(malformed)?
    {
        steps.take()?;
        match instruction {
            // Obsolete, and the program would keep the file forever.
            LineInstruction::DefineFile(_) => continue,
            // This number can't be negated.
            LineInstruction::AdvanceLine(i64::MIN) => return Err(malformed(())),
            _ => {}
        }
        if row.execute(instruction, program).map_err(malformed)? {
            show(&row)?;
            if row.end_sequence() {
                return Ok(());
            }
            row.reset(program.header());
        }
    }
    Ok(())
}

/// Counts the directories and files of a table before memory is allocated for them. Each must have
/// bytes: some forms have values without any, and then a mere number stands for that many files.
fn check(sections: &Sections, table: &[u8]) -> Result<(), ReadError> {
    let count = count_files(table).ok_or_else(|| malformed(()))?;
    sections.budget().pay(Resource::Files, count)
}

fn count_files(table: &[u8]) -> Option<u64> {
    let is_long = table.starts_with(&[0xff; 4]);
    let word = if is_long { 8 } else { 4 };
    let rest = table.get(if is_long { 12 } else { 4 }..)?;
    let (version, mut rest) = rest.split_first_chunk::<2>()?;
    let version = u16::from_le_bytes(*version);
    if version >= 5 {
        // The sizes of addresses and of segments.
        rest = rest.get(2..)?;
    }
    // The length of the header, and the parameters of the instructions.
    let fixed = if version >= 4 { 6 } else { 5 };
    rest = rest.get(word + fixed - 1..)?;
    let (opcodes, rest) = rest.split_first()?;
    let mut rest = Numbers(rest.get(usize::from(opcodes.checked_sub(1)?)..)?);
    if version >= 5 {
        let directories = rest.skip_list(word)?;
        return Some(directories + rest.skip_list(word)?);
    }
    let mut count = 0;
    // Directories, and files with three numbers each.
    for numbers in [0, 3] {
        while rest.skip_text()? > 0 {
            count += 1;
            for _ in 0..numbers {
                rest.number()?;
            }
        }
    }
    Some(count)
}

impl Numbers<'_> {
    fn skip(&mut self, bytes: u64) -> Option<()> {
        self.0 = self.0.get(usize::try_from(bytes).ok()?..)?;
        Some(())
    }

    /// Skips a text that ends with a zero byte, and returns its length.
    fn skip_text(&mut self) -> Option<usize> {
        let length = self.0.iter().position(|byte| *byte == 0)?;
        self.skip(length as u64 + 1)?;
        Some(length)
    }

    /// Skips a list that starts with the forms of its entries' values, and
    /// returns the number of entries.
    fn skip_list(&mut self, word: usize) -> Option<u64> {
        let formats = u64::from(self.byte()?);
        let mut forms = Vec::new();
        for _ in 0..Some(formats).filter(|formats| *formats <= MAX_FORMATS)? {
            self.number()?;
            forms.push(gimli::DwForm(u16::try_from(self.number()?).ok()?));
        }
        let count = self.number()?;
        if forms.is_empty() && count > 0 {
            return None;
        }
        for _ in 0..count {
            for form in &forms {
                self.skip_value(*form, word)?;
            }
        }
        Some(count)
    }

    /// Skips a value in one of the forms that occur in lists of files.
    fn skip_value(&mut self, form: gimli::DwForm, word: usize) -> Option<()> {
        let length = match form {
            gimli::DW_FORM_string => return self.skip_text().map(drop),
            gimli::DW_FORM_udata | gimli::DW_FORM_sdata | gimli::DW_FORM_strx => {
                return self.number().map(drop);
            }
            gimli::DW_FORM_block => self.number()?,
            gimli::DW_FORM_block1 => u64::from(self.byte()?),
            gimli::DW_FORM_data1 | gimli::DW_FORM_strx1 => 1,
            gimli::DW_FORM_data2 | gimli::DW_FORM_strx2 => 2,
            gimli::DW_FORM_strx3 => 3,
            gimli::DW_FORM_data4 | gimli::DW_FORM_strx4 => 4,
            gimli::DW_FORM_data8 => 8,
            gimli::DW_FORM_data16 => 16,
            gimli::DW_FORM_line_strp | gimli::DW_FORM_strp | gimli::DW_FORM_sec_offset => {
                word as u64
            }
            _ => return None,
        };
        self.skip(length)
    }
}
