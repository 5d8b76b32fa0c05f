//! A service on axum under load: each request in flight is found by its route, at the
//! line where it waits, and no request is lost.

mod client;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
};

use tempfile::tempdir;

use self::client::Client;
use crate::{
    redact::redact,
    reply::{Leaks, Stack},
    source::Marks,
    support::{Build, Target, eventually},
};

/// The routes on which requests are parked, how many, and the marks of the lines where they wait.
const PARKED: &[(&str, usize, &str)] = &[
    (
        "GET /api/{version}/orders/{order}/items/{item}",
        2,
        "web-item",
    ),
    ("GET /events/{topic}", 3, "web-events"),
    ("GET /report", 1, "web-report"),
    ("GET /users/{id}", 4, "web-user"),
    ("POST /carts/{user}", 5, "web-cart"),
    ("PUT /uploads/{file}", 2, "web-upload"),
];

/// The requests whose client does not read.
const HELD_BACK: (&str, usize) = ("GET /downloads/{file}", 2);

/// The marks of tasks that are not requests.
const OTHERS: &[&str] = &["web-carts", "web-publisher", "web-serve"];

/// The marks of the service on HTTP/2.
const GRPC: &[&str] = &["grpc-ask", "grpc-connection", "grpc-watch"];

/// How many connections send requests all the time.
const LOADERS: usize = 2;

/// How often the service is looked at meanwhile.
const LOOKS: usize = 4;

/// Returns the names of the marked lines in the service.
pub fn marks() -> impl Iterator<Item = &'static str> {
    let parked = PARKED.iter().map(|(_, _, mark)| *mark);
    parked.chain(OTHERS.iter().chain(GRPC).copied())
}

struct Shop {
    target: Target,
    port: u16,
}

impl Shop {
    fn open() -> Self {
        let directory = Arc::new(tempdir().unwrap());
        let target = Target::start_in(directory, Build::services(), &["web"]);
        let port = target.command("port").parse().unwrap();
        Self { target, port }
    }

    /// Parks a request: it stays in flight until the shop is released.
    fn park(&self, method: &str, path: &str, expected: String) -> Parked {
        let mut client = Client::connect(self.port);
        client.send(method, path, 0, "");
        Parked {
            client,
            rest: "",
            expected: expected.into_bytes(),
        }
    }

    /// Parks all requests of [`PARKED`].
    fn park_all(&self) -> Vec<Parked> {
        let count = |route: &str| {
            let mut parked = PARKED.iter();
            let (_, count, _) = parked.find(|(name, ..)| *name == route).unwrap();
            0..*count
        };
        let mut parked = Vec::new();
        for id in count("GET /users/{id}") {
            let path = format!("/users/{id}");
            let expected = format!("user {id} is number {id}");
            parked.push(self.park("GET", &path, expected));
        }
        for item in count("GET /api/{version}/orders/{order}/items/{item}") {
            let path = format!("/api/v2/orders/77/items/{item}");
            let expected = format!("v2: item {item} of order 77");
            parked.push(self.park("GET", &path, expected));
        }
        for _ in count("GET /report") {
            let expected = "17 sold, 4 left".to_owned();
            parked.push(self.park("GET", "/report", expected));
        }
        for user in count("POST /carts/{user}") {
            let path = format!("/carts/{user}");
            parked.push(self.park("POST", &path, format!("added for {user}")));
        }
        for topic in count("GET /events/{topic}") {
            let path = format!("/events/{topic}");
            let expected = format!("{topic} begins\n{topic} ends\n");
            parked.push(self.park("GET", &path, expected));
        }
        for file in count("PUT /uploads/{file}") {
            let mut client = Client::connect(self.port);
            client.send("PUT", &format!("/uploads/{file}"), 9, "half");
            parked.push(Parked {
                client,
                rest: ", all",
                expected: format!("{file} has 9 bytes").into_bytes(),
            });
        }
        parked
    }

    /// Requests downloads that nobody reads.
    fn hold_back(&self) -> Vec<Parked> {
        let seeds = 0..u8::try_from(HELD_BACK.1).unwrap();
        let downloads = seeds.map(|seed| {
            let mut client = Client::connect_narrow(self.port);
            client.send("GET", &format!("/downloads/{seed}"), 0, "");
            let pieces = (1..=u8::MAX).chain([0]).cycle().take(512);
            let expected = pieces.flat_map(|piece| [seed.wrapping_add(piece); 64 << 10]);
            Parked {
                client,
                rest: "",
                expected: expected.collect(),
            }
        });
        downloads.collect()
    }

    /// Returns a dump once each request has reached the place where it waits.
    fn settled(&self, marks: &Marks) -> Stack {
        let mut stack = None;
        eventually("all parked requests wait", || {
            let now = self.target.stack(&["--tasks"]);
            let wrong = wrong(&now, marks);
            stack = Some(now);
            wrong.is_none()
        });
        stack.unwrap()
    }
}

/// A request in flight.
struct Parked {
    client: Client,
    /// The rest of the request body.
    rest: &'static str,
    expected: Vec<u8>,
}

impl Parked {
    /// Has the request answered, and checks every byte.
    fn finish(mut self) {
        self.client.send_more(self.rest);
        let answer = self.client.answer();
        let same = answer == self.expected;
        assert!(same, "{} bytes are not those expected", answer.len());
    }
}

/// Returns what is wrong with a dump of the parked requests, if anything.
fn wrong(stack: &Stack, marks: &Marks) -> Option<String> {
    for (route, count, mark) in PARKED {
        let groups = stack.groups(route);
        let found: usize = groups.iter().map(|group| group.count).sum();
        if found != *count {
            return Some(format!("{found} of {count} are on {route}: {stack:#?}"));
        }
        let mut lines = groups.iter().flat_map(|group| {
            let lines = marks.of(mark).iter();
            lines.map(move |line| (group, line))
        });
        // The other users of the gate have other callers.
        if let Some((group, line)) = lines.find(|(group, line)| !group.has_line(line)) {
            return Some(format!("{line:?} is not in {group:#?}"));
        }
    }
    let (route, count) = HELD_BACK;
    let groups = stack.groups(route).into_iter();
    let held_back = groups.filter(|group| group.state == "held back");
    let found: usize = held_back.map(|group| group.count).sum();
    (found != count).then(|| format!("{found} of {count} are held back: {stack:#?}"))
}

/// Connections with one request after another.
struct Load {
    is_over: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    loaders: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(port: u16) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicU64::new(0));
        let loaders = (0..LOADERS).map(|_| {
            let (is_over, answered) = (Arc::clone(&is_over), Arc::clone(&answered));
            thread::spawn(move || {
                let mut client = Client::connect(port);
                while !is_over.load(SeqCst) {
                    let number = answered.load(SeqCst);
                    let body = "x".repeat(usize::try_from(number % 1000).unwrap());
                    client.send("POST", &format!("/echo/{number}"), body.len(), &body);
                    let answer = client.answer();
                    assert_eq!(answer, format!("{number}: {body}").into_bytes());
                    answered.fetch_add(1, SeqCst);
                }
            })
        });
        Self {
            loaders: loaders.collect(),
            is_over,
            answered,
        }
    }

    fn goes_on(&self) {
        let before = self.answered.load(SeqCst);
        eventually("requests are answered", || {
            self.answered.load(SeqCst) >= before + 10
        });
    }

    /// Returns how many requests were answered. Panics if one was not, or wrongly.
    fn end(self) -> u64 {
        self.is_over.store(true, SeqCst);
        for loader in self.loaders {
            loader.join().unwrap();
        }
        self.answered.load(SeqCst)
    }
}

#[test]
fn under_load_each_request_is_found_by_its_route_and_none_is_lost() {
    let shop = Shop::open();
    let marks = Marks::read();
    let load = Load::start(shop.port);
    load.goes_on();
    let parked = shop.park_all();
    let downloads = shop.hold_back();
    shop.settled(&marks);
    for attach in ["auto", "never"].into_iter().cycle().take(LOOKS) {
        let stack = shop.target.stack(&["--tasks", "--attach", attach]);
        assert!(stack.complete, "{:?}", stack.gaps);
        if let Some(wrong) = wrong(&stack, &marks) {
            panic!("{wrong}");
        }
        load.goes_on();
    }
    let users = shop.target.stack(&["--filter", r"GET /users/\{id\}"]);
    let names = users
        .task_groups()
        .iter()
        .map(|group| group.name.as_deref());
    assert!(names.clone().all(|name| name == Some("GET /users/{id}")));
    assert_eq!(users.tasks().count(), 4);

    assert_eq!(shop.target.command("release"), "released");
    parked.into_iter().for_each(Parked::finish);
    downloads.into_iter().for_each(Parked::finish);
    load.goes_on();
    let answered = load.end();
    assert_eq!(shop.target.command("check"), answered.to_string());
    eventually("no request is in flight", || {
        let stack = shop.target.stack(&["--tasks"]);
        stack.task_groups().iter().all(|group| group.name.is_none())
    });
}

#[test]
fn leaks_and_profiles_name_requests() {
    let shop = Shop::open();
    let mut client = Client::connect(shop.port);
    client.send("GET", "/lost", 0, "");
    let _user = shop.park("GET", "/users/1", String::new());
    let users = || shop.target.stack(&["--tasks", "--filter=^GET /users/"]);
    eventually("the requests have come", || users().tasks().count() == 1);
    let pid = shop.target.pid.to_string();
    let run = shop.target.rtops(&["leaks", &pid, "--for=0", "--json"]);
    let leaks: Leaks = run.success().json();
    let proven = leaks.findings.iter();
    let proven = proven.filter(|finding| finding.evidence == "proven");
    let names = proven.flat_map(|finding| &finding.tasks);
    let names: Vec<_> = names.map(|group| group.name.as_deref()).collect();
    assert_eq!(names, [Some("GET /lost")]);

    let run = shop.target.rtops(&["profile", "tasks", &pid, "--debug=1"]);
    let profile = run.success().stdout;
    let label = "# labels: {\"name\":\"GET /users/{id}\"";
    assert!(profile.contains(label), "{profile}");
    drop(client);
    eventually("who hangs up takes its request along", || {
        let lost = shop.target.stack(&["--tasks", "--filter=^GET /lost$"]);
        lost.tasks().count() == 0
    });
}

#[test]
fn a_request_is_a_few_lines_of_the_service_alone() {
    let shop = Shop::open();
    let _report = shop.park("GET", "/report", String::new());
    let filter = ["--tasks", "--filter=^GET /report$"];
    eventually("the request waits", || {
        let stack = shop.target.stack(&filter);
        stack
            .task_groups()
            .iter()
            .any(|group| group.stacks.len() == 2)
    });
    let text = redact(&shop.target.stack_text(&filter));
    insta::assert_snapshot!(text, @r#"
    services (pid PID): 1 of 3 tasks in 1 group, 3 of 3 alive
    looked at from outside; it stood still for TIME

    1 task "GET /report" [watch changed, TIME]
        services::web::routes::report  crates/testbed/src/services/web/routes.rs:LINE
        ├─ services::web::routes::sales  crates/testbed/src/services/web/routes.rs:LINE
        │  services::web::routes::Gate::opened [watch changed]  crates/testbed/src/services/web/routes.rs:LINE
        │    > self.0.wait_for(|is_open| *is_open).await.ok(); // AWAIT web-carts web-item web-publisher web-report web-user
        └─ services::web::routes::stock  crates/testbed/src/services/web/routes.rs:LINE
           services::web::routes::Gate::opened [watch changed]  crates/testbed/src/services/web/routes.rs:LINE
        spawned at crates/testbed/src/services/web/mod.rs:LINE
    "#);
}

#[test]
fn over_http2_each_request_is_a_span_of_its_stream() {
    let directory = Arc::new(tempdir().unwrap());
    let target = Target::start_in(directory, Build::services(), &["grpc"]);
    let marks = Marks::read();
    let stack = target.stack(&["--tasks", "--filter=^/shop.Orders/Watch$"]);
    let streams = stack.group("stream");
    assert_eq!(streams.count, 3);
    assert_eq!(streams.spans, ["/shop.Orders/Watch"]);
    streams.expect_lines(marks.of("grpc-watch"));
    let stack = target.stack(&["--tasks", "--filter=^connection$"]);
    let connection = stack.group("connection");
    assert_eq!((connection.count, connection.kind.as_str()), (1, "task"));
    connection.expect_lines(marks.of("grpc-connection"));
    eventually("each client waits for its answer", || {
        target.stack(&["--tasks"]).has_task_at(marks.of("grpc-ask"))
    });
}
