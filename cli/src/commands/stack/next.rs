//! What to type after looking at all of a process.

use rtops_report::{
    group::TaskGroup,
    view::{View, own_frame},
};

use crate::args::StackArgs;

/// Returns the commands that show more of the process that was named; `None` if there are none.
pub fn line(args: &StackArgs, view: &View) -> Option<String> {
    let [target] = args.targets.as_slice() else {
        return None;
    };
    // The next step is the same command without the limit.
    if args.limit == Some(0) {
        return None;
    }
    let target = match is_plain(target) {
        true => target.clone(),
        false => view.pid.to_string(),
    };
    let stack = match &args.filter {
        // The search found something; what is left to show is all of its frames.
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

/// Returns a word to find the first group by: the longest in its name, or the function it is in.
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

/// Whether a text needs no quoting in a shell or in a regular expression.
fn is_plain(text: &str) -> bool {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "_-".contains(character);
    !text.is_empty() && !text.starts_with('-') && text.chars().all(is_plain)
}
