//! The names of requests: few, short, and made once per route.

use std::{
    borrow::Cow,
    hash::{DefaultHasher, Hash, Hasher},
    sync::OnceLock,
};

use http::{Method, Request, header::CONTENT_TYPE};

/// The maximum length of a name in bytes. Longer names are cut.
const MAX_NAME: usize = 128;
/// The number of names that are kept: more than a service has routes.
const PLACES: usize = 1024;
/// The number of places that a name may be in.
const TRIES: usize = 8;

/// The names of all routes seen so far. None is ever dropped, so that requests can share them.
/// There are never more than [`PLACES`], whatever clients ask for.
static NAMES: [OnceLock<Box<str>>; PLACES] = [const { OnceLock::new() }; PLACES];

/// Names a request.
///
/// Implemented by [`ByRoute`] and by functions from a request to a name.
pub trait NameRequest<B> {
    /// Returns the name; see [`RequestLayer::name_by`](crate::RequestLayer::name_by).
    fn name(&self, request: &Request<B>) -> Cow<'static, str>;
}

impl<B, F> NameRequest<B> for F
where
    F: Fn(&Request<B>) -> Cow<'static, str>,
{
    fn name(&self, request: &Request<B>) -> Cow<'static, str> {
        self(request)
    }
}

/// Names a request by its method and, if known, its route:
///
/// | request | name |
/// |---|---|
/// | matched by an axum route, with the feature `axum` | `GET /users/{id}` |
/// | gRPC | `/package.Service/Method` |
/// | any other | `GET` |
#[derive(Clone, Copy, Debug, Default)]
pub struct ByRoute;

impl<B> NameRequest<B> for ByRoute {
    fn name(&self, request: &Request<B>) -> Cow<'static, str> {
        #[cfg(feature = "axum")]
        if let Some(path) = request.extensions().get::<axum::extract::MatchedPath>() {
            return route_name(request.method(), path.as_str());
        }
        if is_grpc(request) {
            return kept("", request.uri().path());
        }
        route_name(request.method(), "")
    }
}

/// Makes a name from a method and a route: `GET /users/{id}`. The name is allocated only for the
/// first request, so this may be called for every request.
#[must_use]
pub fn route_name(method: &Method, route: &str) -> Cow<'static, str> {
    kept(method.as_str(), route)
}

/// Cuts a name that is too long.
pub(crate) fn bounded(name: Cow<'static, str>) -> Cow<'static, str> {
    if name.len() <= MAX_NAME {
        return name;
    }
    match name {
        Cow::Borrowed(name) => Cow::Borrowed(cut(name, MAX_NAME)),
        // Not truncated in place, which would keep the memory.
        Cow::Owned(name) => Cow::Owned(cut(&name, MAX_NAME).to_owned()),
    }
}

/// Whether the content type is `application/grpc`, `application/grpc+proto`,
/// `application/grpc-web` …
fn is_grpc<B>(request: &Request<B>) -> bool {
    let content = request.headers().get(CONTENT_TYPE);
    content.is_some_and(|content| content.as_bytes().starts_with(b"application/grpc"))
}

/// Returns the two words as one stored name, if there is room for it.
fn kept(method: &str, route: &str) -> Cow<'static, str> {
    let method = cut(method, MAX_NAME / 2);
    let route = cut(route, MAX_NAME - method.len() - 1);
    let mut hasher = DefaultHasher::new();
    (method, route).hash(&mut hasher);
    // Truncation is fine, as it only has to select a place.
    let first = hasher.finish() as usize;
    for place in NAMES.iter().cycle().skip(first % PLACES).take(TRIES) {
        let name = place.get_or_init(|| joined(method, route).into_boxed_str());
        if is_of(name, method, route) {
            return Cow::Borrowed(name);
        }
    }
    Cow::Owned(joined(method, route))
}

fn joined(method: &str, route: &str) -> String {
    match (method, route) {
        ("", only) | (only, "") => only.to_owned(),
        _ => format!("{method} {route}"),
    }
}

fn is_of(name: &str, method: &str, route: &str) -> bool {
    match (method, route) {
        ("", only) | (only, "") => name == only,
        _ => {
            let rest = name.strip_prefix(method);
            rest.and_then(|rest| rest.strip_prefix(' ')) == Some(route)
        }
    }
}

fn cut(text: &str, most: usize) -> &str {
    let mut ends = (0..=most.min(text.len())).rev();
    let end = ends.find(|end| text.is_char_boundary(*end));
    end.and_then(|end| text.get(..end)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, path: &str, content: &'static str) -> Request<()> {
        let request = Request::builder().method(method).uri(path);
        let request = request.header(CONTENT_TYPE, content);
        request.body(()).expect("the parts are valid")
    }

    #[test]
    fn without_a_route_only_the_method_is_told() {
        let name = ByRoute.name(&request("DELETE", "/users/4711", "text/plain"));
        assert_eq!(name, "DELETE");
    }

    #[test]
    fn the_path_of_a_grpc_request_is_its_route() {
        for content in ["application/grpc", "application/grpc+proto"] {
            let name = ByRoute.name(&request("POST", "/shop.Users/Get", content));
            assert_eq!(name, "/shop.Users/Get");
        }
    }

    #[test]
    fn a_name_is_made_once() {
        let [first, second] = [(); 2].map(|()| route_name(&Method::GET, "/once/{id}"));
        let (Cow::Borrowed(first), Cow::Borrowed(second)) = (first, second) else {
            panic!("there is room");
        };
        assert_eq!((first, first.as_ptr()), ("GET /once/{id}", second.as_ptr()));
    }

    #[test]
    fn names_are_bounded_in_length() {
        let long = "/ä".repeat(1000);
        let name = route_name(&Method::GET, &long);
        assert!(name.len() <= MAX_NAME && name.len() > MAX_NAME - 4);
        assert!(name.starts_with("GET /ä/ä"));
        let method = Method::from_bytes("X".repeat(1000).as_bytes());
        let name = route_name(&method.expect("it is a token"), &long);
        assert!(name.len() <= MAX_NAME);
        assert_eq!(bounded(Cow::Owned("x".repeat(1000))).len(), MAX_NAME);
        assert_eq!(bounded(Cow::Borrowed("short")), "short");
    }
}
