//! Services that are built to be dumped. They know of no agent, and
//! are spread over several packages.

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
};

use crate::package::Package;

/// Ten ways to wait, and ways to die.
pub const SERVICE: &str = include_str!("services/service.rs");
/// Ways to be inside `block_on`.
pub const BLOCK_ON: &str = include_str!("services/block_on.rs");
/// Tasks that are easy to misread.
pub const FORMS: &str = include_str!("services/forms.rs");

const REDIS: &str = include_str!("services/redis.rs");
const LOADER: &str = include_str!("services/loader.rs");
/// The dependencies of the servers and their clients, without features that take long to build.
/// Where the screens that are compared show lines of a library, its version is exact.
const SERVERS: &str = r#"
actix-http = { version = "=3.20.0", default-features = false }
actix-server = { version = "=2.10.0", default-features = false }
actix-web = { version = "=4.18.1", default-features = false }
axum = { version = "=0.8.9", default-features = false, features = ["http1", "http2", "tokio", "ws"] }
deadpool = { version = "0.12", default-features = false, features = ["managed", "rt_tokio_1"] }
futures-util = { version = "0.3", default-features = false }
http-body-util = "0.1"
hyper = { version = "=1.12.0", features = ["client", "http1", "http2", "server"] }
hyper-util = { version = "=0.1.21", features = ["client-legacy", "http1", "http2", "tokio"] }
tokio-stream = "0.1"
tonic = { version = "=0.14.9", default-features = false, features = ["channel", "router", "server"] }
tonic-health = { version = "=0.14.9", default-features = false }
warp = { version = "0.4", default-features = false, features = ["server"] }
"#;
/// The code that a shared library has in addition to the service.
const ENTRY: &str = "\n#[no_mangle]\npub extern \"C\" fn run_service() {\n    main()\n}\n";

/// The path of the service in its package.
const MAIN: &str = "crates/service/src/main.rs";

/// Builds the service with the newest tokio.
pub fn newest() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| service("1").build().join("service"))
}

/// Returns the service with this version of tokio.
pub fn service(version: &str) -> Package {
    let requirement = if version.contains('.') {
        format!("={version}")
    } else {
        version.to_owned()
    };
    let targets = format!("[[bin]]\nname = \"service\"\npath = \"{MAIN}\"\n");
    let manifest = manifest(&targets, &requirement, "");
    Package::make(&format!("tokio-{version}"), &manifest, &[(MAIN, SERVICE)])
}

/// Builds a package of several programs and returns one: `block_on`, `forms`,
/// or `loader`, which loads the service.
pub fn program(name: &str) -> PathBuf {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    let directory = DIRECTORY.get_or_init(|| {
        let library = SERVICE.to_owned() + ENTRY;
        let sources = [
            (MAIN, library.as_str()),
            ("crates/forms/src/block_on.rs", BLOCK_ON),
            ("crates/forms/src/forms.rs", FORMS),
            ("crates/forms/src/loader.rs", LOADER),
        ];
        let mut targets =
            format!("[lib]\nname = \"plugin\"\npath = \"{MAIN}\"\ncrate-type = [\"cdylib\"]\n");
        for name in ["block_on", "forms", "loader"] {
            targets.push_str("[[bin]]\n");
            targets.push_str(&["name = \"", name, "\"\n"].concat());
            targets.push_str(&["path = \"crates/forms/src/", name, ".rs\"\n"].concat());
        }
        Package::make(
            "forms",
            &manifest(&targets, "1", "futures = \"0.3\"\n"),
            &sources,
        )
        .build()
    });
    directory.join(name)
}

/// Builds mini-redis, in the version whose lines the test looks for.
pub fn redis() -> PathBuf {
    let targets = format!("[[bin]]\nname = \"redis\"\npath = \"{MAIN}\"\n");
    let manifest = manifest(&targets, "1", "mini-redis = \"=0.4.1\"\n");
    let package = Package::make("redis", &manifest, &[(MAIN, REDIS)]);
    package.build().join("redis")
}

/// Builds servers on well-known libraries and their clients as one program,
/// because they share most of their dependencies.
pub fn servers() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let sources = [
            (
                "crates/shop/src/main.rs",
                include_str!("services/servers/main.rs"),
            ),
            (
                "crates/shop/src/clients.rs",
                include_str!("services/servers/clients.rs"),
            ),
            (
                "crates/shop/src/servers.rs",
                include_str!("services/servers/servers.rs"),
            ),
        ];
        let targets = "[[bin]]\nname = \"shop\"\npath = \"crates/shop/src/main.rs\"\n";
        let manifest = manifest(targets, "1", SERVERS);
        Package::make("servers", &manifest, &sources)
            .build()
            .join("shop")
    })
}

fn manifest(targets: &str, tokio: &str, dependencies: &str) -> String {
    format!(
        "[package]\nname = \"service\"\nversion = \"0.0.0\"\nedition = \"2021\"\n{targets}\
         [profile.release]\ndebug = \"limited\"\n\
         [workspace]\n\
         [dependencies]\ntokio = {{ version = \"{tokio}\", features = [\"full\"] }}\n\
         {dependencies}"
    )
}
