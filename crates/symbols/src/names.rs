//! Demangles the names of functions, takes them apart and shortens them.

/// The deepest nesting of types that is taken apart, deeper
/// than anyone writes; deeper types stay as they are.
const MAX_DEPTH: u32 = 32;
/// The most levels of generic arguments that are shown.
pub const MAX_ARGUMENTS: u32 = 2;

/// Returns the readable form of a symbol's name, without the hash, and without the version
/// of a C library function (`read@@GLIBC_2.2.5`).
pub fn demangle(mut symbol: String) -> String {
    rtops_elf::demangle(&symbol).unwrap_or_else(|| {
        if let Some(version) = symbol.find('@') {
            symbol.truncate(version);
        }
        symbol
    })
}

/// Replaces the last segment of a closure's linkage name with the kind from its bare name.
/// Linkage names call the body of an `async fn`, an `async` block and a closure alike; the
/// bare name (`{async_fn#0}<T>`) tells them apart.
pub fn with_closure_kind(name: String, bare: &str) -> String {
    let last = name.rfind("::").map(|at| at + 2);
    let kind = bare.find('}').and_then(|end| bare.get(..=end));
    match (last, kind) {
        (Some(last), Some(kind))
            if bare.starts_with('{') && name.get(last..).is_some_and(is_closure) =>
        {
            name.get(..last).unwrap_or_default().to_owned() + kind
        }
        _ => name,
    }
}

/// Returns the crate of a function; `None` for a name without a path.
pub fn crate_of(name: &str) -> Option<String> {
    let mut segments = segments(name).into_iter();
    let first = segments.next()?;
    segments.next().map(|_| first)
}

fn is_closure(segment: &str) -> bool {
    segment == "{{closure}}" || (segment.starts_with("{closure") && segment.ends_with('}'))
}

/// Returns a name as people say it: without generic arguments,
/// `<T as Trait>::method` as `T::method` (or by the trait, if the
/// type says nothing), the body of an `async fn` as the function.
///
/// ```
/// use rtops_symbols::display_name;
/// assert_eq!(display_name("gateway::conn::Conn<T>::serve::{async_fn#0}"), "gateway::conn::Conn::serve");
/// assert_eq!(display_name("<tokio::time::sleep::Sleep as core::future::future::Future>::poll"), "tokio::time::sleep::Sleep::poll");
/// ```
#[must_use]
pub fn display_name(name: &str) -> String {
    if !name.contains("::") && !name.contains('<') && !name.contains('{') {
        return name.to_owned();
    }
    display(name, &segments(name))
}

/// Returns the same for a name that has these segments.
pub fn display(name: &str, segments: &[String]) -> String {
    let shown = segments.iter();
    let shown = shown.filter_map(|segment| display_segment(segment));
    let shown = shown.collect::<Vec<_>>().join("::");
    if shown.is_empty() {
        name.to_owned()
    } else {
        shown
    }
}

/// Returns a type as people say it: like [`display_name`], but with the first generic
/// argument if there is one, as an adaptor says less than the future in it.
///
/// ```
/// use rtops_symbols::display_type;
/// assert_eq!(display_type("app::serve::{async_fn_env#0}<u8>"), "app::serve");
/// assert_eq!(display_type("f::Map<app::serve::{async_fn_env#0}, app::F>"), "f::Map<app::serve>");
/// ```
#[must_use]
pub fn display_type(name: &str) -> String {
    type_at(name, MAX_ARGUMENTS)
}

/// Whether a function is the body of the `async fn`, block or
/// closure that has this type. A future's type has the number of its
/// `impl`, where a function has the name of the implementing type.
///
/// ```
/// use rtops_symbols::is_body;
/// let future = "app::{impl#3}::serve::{async_fn_env#0}<app::Db>";
/// assert!(is_body(future, "app::Conn<T>::serve::{async_fn#0}"));
/// assert!(!is_body(future, "app::Conn<T>::serve::{async_block#0}"));
/// ```
#[must_use]
pub fn is_body(future: &str, function: &str) -> bool {
    let (mut future, mut function) = (segments(future), segments(function));
    let (Some(kind), Some(body)) = (future.pop(), function.pop()) else {
        return false;
    };
    if !kind.contains("_env#") || kind.replace("_env#", "#") != body {
        return false;
    }
    let of_impl = future.iter().rposition(|one| one.starts_with("{impl#"));
    let own = future.split_off(of_impl.map_or(0, |at| at + 1));
    let written = |segments: &[String]| -> Vec<String> {
        let written = segments.iter().filter(|segment| !segment.starts_with('{'));
        written.cloned().collect()
    };
    let (own, function) = (written(&own), written(&function));
    match of_impl {
        Some(_) => !own.is_empty() && function.ends_with(&own),
        None => function == own,
    }
}

fn type_at(name: &str, depth: u32) -> String {
    let shown = display_name(name);
    // The type of an async body or a closure is shown as its
    // function, whatever that is generic over.
    let is_function = segments(name)
        .last()
        .is_none_or(|last| last.starts_with('{'));
    let first = first_argument(name).filter(|first| !is_function && first.contains("::"));
    match (first, depth.checked_sub(1)) {
        (Some(first), Some(depth)) => format!("{shown}<{}>", type_at(first, depth)),
        _ => shown,
    }
}

/// Returns the path of a function for the rules: without
/// closures and anything else that the compiler made.
pub fn path(segments: &[String]) -> String {
    let written = segments.iter().filter(|segment| !segment.starts_with('{'));
    let written: Vec<&str> = written.map(String::as_str).collect();
    written.join("::")
}

/// Returns how a segment is displayed; `None` if it means nothing to a reader. Segments in
/// braces are made by the compiler.
fn display_segment(segment: &str) -> Option<&str> {
    if !segment.starts_with('{') {
        return Some(segment);
    }
    match segment.trim_matches(['{', '}']).split(['#', ':']).next()? {
        "async_fn" if segment == "{async_fn}" => Some("{async fn}"),
        "async_block" | "async_block_env" => Some("{async block}"),
        "async_closure" | "async_closure_env" => Some("{async closure}"),
        // Without debug info, `{{closure}}` may also be the body of an async fn, and nothing tells
        // the two apart. The function itself is right in both cases.
        "closure" | "closure_env" if segment != "{{closure}}" => Some("{closure}"),
        _ => None,
    }
}

/// Returns the segments of a path at its outermost level, without generic arguments.
pub fn segments(name: &str) -> Vec<String> {
    segments_at(name, MAX_DEPTH)
}

fn segments_at(name: &str, depth: u32) -> Vec<String> {
    let name = strip_reference(name);
    let Some(depth) = depth.checked_sub(1) else {
        return vec![name.to_owned()];
    };
    // `dyn Trait + Send`: the first trait counts.
    let name = split(name, " + ").into_iter().next().unwrap_or(name);
    let mut segments = Vec::new();
    for raw in split(name, "::") {
        let own = match raw.find('<') {
            Some(0) if segments.is_empty() => {
                segments.extend(qualified(raw, depth));
                continue;
            }
            // A turbofish or `<impl Trait for Type>` within a path.
            Some(0) => continue,
            Some(at) if !raw.starts_with('{') => raw.get(..at).unwrap_or(raw),
            // `{async_fn#0}<T>`
            Some(_) if raw.starts_with('{') => raw.split_inclusive('}').next().unwrap_or(raw),
            _ => raw,
        };
        if !own.is_empty() {
            segments.push(own.to_owned());
        }
    }
    segments
}

/// Returns the first generic argument of a function or type, or of the type whose method it
/// is: `A` for `f<A, B>`, `m::f::<A>` and `<m::T<A, B>>::f`.
pub fn first_argument(name: &str) -> Option<&str> {
    let whole = split(name, "::");
    let method_of = whole.first().and_then(|first| first.strip_prefix('<'));
    let name = match method_of.and_then(|of| of.strip_suffix('>')) {
        Some(of) => split(of, " as ").into_iter().next()?,
        None => name,
    };
    let (_, arguments) = name.split_once('<')?;
    let arguments = arguments.strip_suffix('>')?;
    split(arguments, ", ").into_iter().next()
}

/// Returns the path that represents `<Type as Trait>` or `<Type>`.
fn qualified(raw: &str, depth: u32) -> Vec<String> {
    let inner = raw.strip_prefix('<').unwrap_or(raw);
    let inner = inner.strip_suffix('>').unwrap_or(inner);
    let mut parts = split(inner, " as ").into_iter();
    let own = segments_at(parts.next().unwrap_or(inner), depth);
    match parts.next() {
        // For a type parameter, a tuple or a primitive, the trait says more.
        Some(of) if own.len() < 2 => segments_at(of, depth),
        _ => own,
    }
}

pub fn strip_reference(name: &str) -> &str {
    let mut rest = name.trim();
    // `for<'a> core::ops::function::FnMut<(&'a str,)>`
    if let Some(bound) = rest.strip_prefix("for<") {
        rest = bound.split_once("> ").map_or(rest, |(_, rest)| rest);
    }
    loop {
        let next = ["&", "*const ", "*mut ", "mut ", "dyn ", "impl "]
            .iter()
            .find_map(|prefix| rest.strip_prefix(prefix));
        match next {
            Some(next) => rest = next.trim_start(),
            None => return rest,
        }
    }
}

/// Splits at a separator outside of all brackets. The `>` of `->` closes none.
pub fn split<'a>(text: &'a str, separator: &str) -> Vec<&'a str> {
    let mut parts = Vec::new();
    let (mut depth, mut start) = (0_usize, 0);
    let mut before = b'\0';
    let first = separator.bytes().next();
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'<' | b'(' | b'[' | b'{' => depth += 1,
            b'>' if before == b'-' || before == b'=' => {}
            b'>' | b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        before = byte;
        let is_separator = || {
            text.as_bytes()
                .get(at..)?
                .strip_prefix(separator.as_bytes())
        };
        if depth == 0 && Some(byte) == first && at >= start && is_separator().is_some() {
            parts.extend(text.get(start..at));
            start = at + separator.len();
        }
    }
    parts.extend(text.get(start..));
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_names() {
        for (name, shown) in [
            (
                "<&mut app::f::{closure#0} as for<'a> core::ops::function::FnMut<(&'a u8,)>>::call_mut",
                "app::f::{closure}::call_mut",
            ),
            (
                "<&mut F as for<'a> core::ops::function::FnMut<(&'a u8,)>>::call_mut",
                "core::ops::function::FnMut::call_mut",
            ),
            ("epoll_wait", "epoll_wait"),
            ("libfoo.so+0x12", "libfoo.so+0x12"),
            (
                "<dyn core::ops::function::Fn<()> + core::marker::Sync as core::ops::function::FnOnce<()>>::call_once",
                "core::ops::function::Fn::call_once",
            ),
            ("gateway::deep_one::{async_fn#0}", "gateway::deep_one"),
            ("gateway::deep_one::{{closure}}", "gateway::deep_one"),
            ("gateway::conn::{async_fn}", "gateway::conn::{async fn}"),
            (
                "gateway::t::{async_fn#0}<gateway::main::{async_block_env#0}>",
                "gateway::t",
            ),
            (
                "gateway::main::{async_block#1}",
                "gateway::main::{async block}",
            ),
            ("gateway::run::{closure#0}", "gateway::run::{closure}"),
            (
                "gateway::{impl#3}::serve::{async_fn_env#0}<u32>",
                "gateway::serve",
            ),
            (
                "tokio::sync::mutex::Mutex<T>::lock::{async_fn#0}",
                "tokio::sync::mutex::Mutex::lock",
            ),
            (
                "<gateway::Conn<u32> as gateway::Handler>::handle",
                "gateway::Conn::handle",
            ),
            (
                "<F as core::future::future::Future>::poll",
                "core::future::future::Future::poll",
            ),
            (
                "<&core::task::wake::Waker as a::WakerRef>::into_waker",
                "core::task::wake::Waker::into_waker",
            ),
            (
                "std::thread::spawn::<fn(u8) -> a::B<c::D>, ()>",
                "std::thread::spawn",
            ),
            ("<<a::B as c::D>::E as f::G>::h", "a::B::E::h"),
            (
                "core::ptr::drop_in_place<alloc::boxed::Box<dyn Fn() -> bool>>",
                "core::ptr::drop_in_place",
            ),
            ("a::<impl b::C for d::E>::f", "a::f"),
            ("<", "<"),
            ("::", "::"),
            ("a::b<<<", "a::b"),
        ] {
            assert_eq!(display_name(name), shown, "{name}");
        }
    }

    #[test]
    fn types_have_their_first_argument() {
        for (name, shown) in [
            ("app::serve::{async_fn_env#0}", "app::serve"),
            ("app::serve::{async_fn_env#0}<app::T>", "app::serve"),
            ("app::serve<app::T>::{closure#0}", "app::serve::{closure}"),
            ("app::Pump<u8, app::T>", "app::Pump"),
            (
                "tracing::Instrumented<f::Map<app::serve::{async_fn_env#0}, app::F>>",
                "tracing::Instrumented<f::Map<app::serve>>",
            ),
            ("a::A<b::B<c::C<d::D>>>", "a::A<b::B<c::C>>"),
            ("<app::Srv>::run::{closure#0}", "app::Srv::run::{closure}"),
            ("app+0x12", "app+0x12"),
        ] {
            assert_eq!(display_type(name), shown, "{name}");
        }
    }

    #[test]
    fn bodies_belong_to_the_types_of_their_futures() {
        for (future, function, belongs) in [
            (
                "app::serve::{async_fn_env#0}<u8>",
                "app::serve::{async_fn#0}",
                true,
            ),
            (
                "app::main::{async_block#0}::{async_block_env#1}",
                "app::main::{{closure}}::{async_block#1}",
                true,
            ),
            (
                "app::main::{async_block#0}::{async_block_env#1}",
                "app::main::{{closure}}::{async_block#0}",
                false,
            ),
            (
                "app::{impl#2}::serve::{async_fn_env#0}",
                "<db::Postgres as app::Db>::serve::{async_fn#0}",
                true,
            ),
            (
                "app::{impl#2}::serve::{async_fn_env#0}",
                "app::Conn::stop::{async_fn#0}",
                false,
            ),
            (
                "app::{impl#2}::{async_fn_env#0}",
                "app::f::{async_fn#0}",
                false,
            ),
            (
                "app::Pump<app::f::{async_fn_env#0}>",
                "app::f::{async_fn#0}",
                false,
            ),
            ("app::f::{closure_env#0}", "app::f::{closure#0}", true),
            ("", "", false),
        ] {
            assert_eq!(is_body(future, function), belongs, "{future} {function}");
        }
    }

    #[test]
    fn the_first_argument_may_have_arguments() {
        for (name, first) in [
            ("f<a::B<c::D, e::F>, g::H>", Some("a::B<c::D, e::F>")),
            ("a::f::<b::C>", Some("b::C")),
            ("<a::T<b::C, d::E> as f::G>::h", Some("b::C")),
            ("<a::T>::h", None),
            ("a::f", None),
            ("f<", None),
            ("<", None),
        ] {
            assert_eq!(first_argument(name), first, "{name}");
        }
    }

    #[test]
    fn hostile_nesting_ends() {
        let deep = "<".repeat(100_000) + &"a::b>".repeat(100_000);
        assert!(!display_name(&deep).is_empty());
    }

    #[test]
    fn the_kind_of_a_closure_comes_from_the_bare_name() {
        let kind = |name: &str, bare| with_closure_kind(name.to_owned(), bare);
        assert_eq!(
            kind("a::f::{{closure}}", "{async_fn#0}<u8>"),
            "a::f::{async_fn#0}"
        );
        assert_eq!(
            kind("a::f::{closure#1}", "{async_block#0}"),
            "a::f::{async_block#0}"
        );
        assert_eq!(kind("a::f", "f<u8>"), "a::f");
        assert_eq!(kind("a::f::{{closure}}", "f"), "a::f::{{closure}}");
    }
}
