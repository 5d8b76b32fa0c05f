//! Whatever clients make up, few names are kept. Their table is for the whole process, so this
//! test is alone in its own.
#![allow(clippy::unwrap_used)]

use std::{borrow::Cow, collections::HashSet};

use http::{Method, Request, header::CONTENT_TYPE};
use rtops_http::{ByRoute, NameRequest, route_name};

#[test]
fn made_up_paths_fill_a_bounded_table_and_are_told_all_the_same() {
    let before = route_name(&Method::GET, "/users/{id}");
    let mut kept = HashSet::new();
    for number in 0..50_000 {
        let path = format!("/made.Up/{number}");
        let request = Request::post(&path).header(CONTENT_TYPE, "application/grpc");
        let name = ByRoute.name(&request.body(()).unwrap());
        assert_eq!(name, path);
        if let Cow::Borrowed(name) = name {
            kept.insert(name.as_ptr());
        }
    }
    assert!(kept.len() > 500 && kept.len() <= 1024, "{}", kept.len());
    // Earlier names are not evicted, and later requests are named as well.
    let (Cow::Borrowed(before), Cow::Borrowed(after)) =
        (before, route_name(&Method::GET, "/users/{id}"))
    else {
        panic!("it was kept");
    };
    assert_eq!(before.as_ptr(), after.as_ptr());
    assert_eq!(route_name(&Method::PUT, "/late/{id}"), "PUT /late/{id}");
}
