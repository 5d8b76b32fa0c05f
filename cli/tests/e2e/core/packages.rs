//! What is built to be dumped: services that know of no agent, each in one package or another.

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
};

use crate::package::Package;

/// Ten ways to wait, and ways to die.
pub const SERVICE: &str = include_str!("services/service.rs");
/// Ways to be inside `block_on`.
pub const BLOCK_ON: &str = include_str!("services/block_on.rs");
/// What is easily told wrong.
pub const FORMS: &str = include_str!("services/forms.rs");

/// Requests that wait in an axum service.
pub const AXUM: &str = include_str!("services/axum.rs");

const REDIS: &str = include_str!("services/redis.rs");
const LOADER: &str = include_str!("services/loader.rs");
/// What a shared library has in addition to the service.
const ENTRY: &str = "\n#[no_mangle]\npub extern \"C\" fn run_service() {\n    main()\n}\n";

/// Where the service is in its package.
const MAIN: &str = "crates/service/src/main.rs";

/// The service with the newest tokio.
pub fn newest() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| service("1").build().join("service"))
}

/// The service with this version of tokio.
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

/// A program of the package with several: `block_on`, `forms` and `loader`, which loads the service.
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

/// mini-redis, of the version whose lines are looked for.
pub fn redis() -> PathBuf {
    let targets = format!("[[bin]]\nname = \"redis\"\npath = \"{MAIN}\"\n");
    let manifest = manifest(&targets, "1", "mini-redis = \"=0.4.1\"\n");
    let package = Package::make("redis", &manifest, &[(MAIN, REDIS)]);
    package.build().join("redis")
}

/// A service on the newest axum.
pub fn axum() -> PathBuf {
    let targets = format!("[[bin]]\nname = \"shop\"\npath = \"{MAIN}\"\n");
    let manifest = manifest(&targets, "1", "axum = \"0.8\"\n");
    let package = Package::make("axum", &manifest, &[(MAIN, AXUM)]);
    package.build().join("shop")
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
