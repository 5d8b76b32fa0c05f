//! What to type after a look at all of a process.

use rtops_report::{
    group::TaskGroup,
    view::{View, own_frame},
};

use crate::args::StackArgs;

/// The commands that tell more of the process that was named; `None` where there are none.
pub fn line(args: &StackArgs, view: &View) -> Option<String> {
    let [target] = args.targets.as_slice() else {
        return None;
    };
    // The same without the limit is next.
    if args.limit == Some(0) {
        return None;
    }
    let target = match is_plain(target) {
        true => target.clone(),
        false => view.pid.to_string(),
    };
    let stack = match &args.filter {
        // What was asked for was found; all frames of it are left.
        Some(filter) if !args.all_frames && is_plain(filter.as_str()) => {
            format!("rtops stack {target} --filter {filter} --all-frames")
        }
        Some(_) => return None,
        None => {
            let first = view.tasks.as_ref().and_then(|groups| groups.first());
            let word = first.and_then(|group| word(view, group));
            let stack = word.map(|word| format!(" · rtops stack {target} --filter {word}"));
            format!("rtops leaks {target}{}", stack.unwrap_or_default())
        }
    };
    Some(format!("next: {stack}"))
}

/// A word that the first group is found by: the longest of its name, or the function that it is in.
fn word(view: &View, group: &TaskGroup) -> Option<String> {
    let of_name = |name: &str| {
        let words = name.split_whitespace().filter(|word| is_plain(word));
        words.max_by_key(|word| word.len()).map(str::to_owned)
    };
    if let Some(name) = group.look.name {
        return of_name(name);
    }
    let frame = own_frame(view.frames, &group.telling());
    let function = frame.map(|frame| frame.name.as_str());
    let path = function.or(group.look.future_type.as_deref())?;
    let mut segments = path.rsplit("::");
    segments
        .find(|segment| is_plain(segment))
        .map(str::to_owned)
}

/// Whether a text needs no quotes, in a shell or in a regular expression.
fn is_plain(text: &str) -> bool {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "_-".contains(character);
    !text.is_empty() && !text.starts_with('-') && text.chars().all(is_plain)
}
