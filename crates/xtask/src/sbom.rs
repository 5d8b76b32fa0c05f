//! The contents of the program as a CycloneDX document: packages, versions,
//! licences, and which package needs which.

use std::{
    collections::{HashMap, HashSet},
    io,
    path::Path,
};

use serde_json::{Value, json};

use crate::cargo::{self, Node, Package};

/// Returns the document for rtops as it is built for a platform.
///
/// # Errors
/// If cargo does not say what is in it.
pub fn document(workspace: &Path, triple: &str) -> io::Result<Value> {
    let metadata = cargo::metadata(workspace, &["--locked", "--filter-platform", triple])?;
    let packages: HashMap<&str, &Package> = metadata.packages.iter().map(|p| (&*p.id, p)).collect();
    let resolve = metadata.resolve.iter();
    let nodes: HashMap<&str, &Node> = resolve
        .flat_map(|resolve| &resolve.nodes)
        .map(|node| (&*node.id, node))
        .collect();
    let program = metadata.packages.iter().find(|p| p.name == "rtops");
    let program = program.ok_or_else(|| io::Error::other("cargo knows no package rtops"))?;
    let mut parts: Vec<&Package> = linked(&program.id, &nodes)
        .into_iter()
        .filter_map(|id| packages.get(id).copied())
        .collect();
    parts.sort_by_key(|package| (&package.name, &package.version));
    let needs = |package: &&Package| {
        let needed = nodes.get(&*package.id).into_iter().flat_map(|n| needed(n));
        let mut needed: Vec<String> = needed
            .filter_map(|id| packages.get(id).map(|package| url(package)))
            .collect();
        needed.sort();
        json!({ "ref": url(package), "dependsOn": needed })
    };
    let others = parts.iter().filter(|package| package.id != program.id);
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "component": component(program, "application") },
        "components": others.map(|package| component(package, "library")).collect::<Vec<_>>(),
        "dependencies": parts.iter().map(needs).collect::<Vec<_>>(),
    }))
}

/// Returns a package and everything that it needs, by ids.
fn linked<'a>(program: &'a str, nodes: &HashMap<&str, &'a Node>) -> HashSet<&'a str> {
    let mut found = HashSet::new();
    let mut open = vec![program];
    while let Some(id) = open.pop() {
        if found.insert(id) {
            open.extend(nodes.get(id).into_iter().flat_map(|node| needed(node)));
        }
    }
    found
}

/// Returns what gets into the program, or makes part of it, as a macro or build script does.
fn needed(node: &Node) -> impl Iterator<Item = &str> {
    let edges = node.deps.iter().filter(|edge| {
        let mut kinds = edge.dep_kinds.iter().map(|kind| kind.kind.as_deref());
        kinds.any(|kind| kind != Some("dev"))
    });
    edges.map(|edge| &*edge.pkg)
}

fn component(package: &Package, kind: &str) -> Value {
    let mut component = json!({
        "type": kind,
        "bom-ref": url(package),
        "name": package.name,
        "version": package.version,
        "purl": url(package),
    });
    if let Some(license) = &package.license {
        // Old packages have a slash where the standard has a word.
        let license = license.replace(" / ", "/").replace('/', " OR ");
        component["licenses"] = json!([{ "expression": license }]);
    }
    component
}

/// Returns the URL of a package, which is unique among those of all ecosystems.
fn url(package: &Package) -> String {
    format!("pkg:cargo/{}@{}", package.name, package.version)
}
