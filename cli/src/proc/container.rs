//! The container or unit that a process runs in, as far as the
//! names of its control groups and mounts show.

use procfs::process::MountInfo;
use serde::Serialize;

use super::cgroup::Group;

/// What a process runs in, as far as names show.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Container {
    /// What runs the container, if its naming scheme is known.
    pub runtime: Option<&'static str>,
    /// What the id identifies: a container, or the pod that it is in.
    pub kind: &'static str,
    pub id: String,
}

/// Prefix and suffix of a part of a group's path that stands for a container, and its runtime.
const NAMES: [(&str, &str, &str); 7] = [
    ("docker-", ".scope", "docker"),
    ("cri-containerd-", ".scope", "containerd"),
    ("cri-containerd:", "", "containerd"),
    ("nerdctl-", ".scope", "containerd"),
    ("crio-", ".scope", "cri-o"),
    ("libpod-", ".scope", "podman"),
    ("libpod-", "", "podman"),
];

/// Directories whose child with an id for its name is a container's, and the runtime.
const PARENTS: [(&str, &str); 2] = [("docker", "docker"), ("libpod_parent", "podman")];

/// Where runtimes keep the files that they mount into each container, up to the id.
const MOUNTED: [(&str, &str, &str); 3] = [
    ("/docker/containers/", "docker", "container"),
    ("/overlay-containers/", "podman", "container"),
    ("/io.containerd.grpc.v1.cri/sandboxes/", "containerd", "pod"),
];

/// Returns the container of a process: by its groups, or else, if rtops runs in the
/// same one and sees only `/`, by its mounts.
pub fn of(groups: &[Group], mounts: &[MountInfo]) -> Option<Container> {
    let by_group = groups.iter().find_map(|group| of_path(&group.path));
    by_group.or_else(|| mounts.iter().find_map(|mount| of_mount(&mount.root)))
}

fn of_path(path: &str) -> Option<Container> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    // The innermost first: a container may be in another one.
    (0..parts.len()).rev().find_map(|index| {
        let part = parts.get(index)?;
        let parent = index.checked_sub(1).and_then(|index| parts.get(index));
        of_part(part, parent.copied().unwrap_or_default())
    })
}

fn of_part(part: &str, parent: &str) -> Option<Container> {
    let container = |runtime, id: &str| Container {
        runtime,
        kind: "container",
        id: id.to_owned(),
    };
    if let Some(name) = part.strip_prefix("lxc.payload.") {
        return Some(container(Some("lxc"), name));
    }
    if let Some(machine) = part.strip_prefix("systemd-nspawn@") {
        let name = machine.strip_suffix(".service").unwrap_or(machine);
        return Some(container(Some("systemd-nspawn"), name));
    }
    // `kubepods-…:cri-containerd:ID`
    let part = part
        .rfind("cri-containerd:")
        .map_or(part, |start| &part[start..]);
    let named = NAMES.iter().find_map(|(prefix, suffix, runtime)| {
        let id = part.strip_prefix(prefix)?.strip_suffix(suffix)?;
        is_id(id).then(|| container(Some(runtime), id))
    });
    named.or_else(|| {
        let known = PARENTS.iter().find(|(name, _)| *name == parent);
        is_id(part).then(|| container(known.map(|(_, runtime)| *runtime), part))
    })
}

fn of_mount(root: &str) -> Option<Container> {
    MOUNTED.iter().find_map(|(before, runtime, kind)| {
        let (_, after) = root.split_once(before)?;
        let id = after.split('/').next()?;
        is_id(id).then(|| Container {
            runtime: Some(runtime),
            kind,
            id: id.to_owned(),
        })
    })
}

/// Whether a text is an id: the 64 hexadecimal digits that container runtimes agree on.
fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Returns the innermost systemd unit in a group's path.
pub fn unit(groups: &[Group]) -> Option<&str> {
    let parts = groups.iter().flat_map(|group| group.path.rsplit('/'));
    let mut units = parts.filter(|part| part.ends_with(".service") || part.ends_with(".scope"));
    units.next()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::proc::cgroup::tests::{group, mount};

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn containers_are_known_by_their_groups() {
        for (path, runtime) in [
            ("/docker/ID", Some("docker")),
            ("/system.slice/docker-ID.scope", Some("docker")),
            ("/docker/ID/init.scope", Some("docker")),
            (
                "/kubepods.slice/kubepods-burstable.slice/kubepods-pod1.slice/cri-containerd-ID.scope",
                Some("containerd"),
            ),
            (
                "/system.slice/containerd.service/kubepods-burstable-pod1.slice:cri-containerd:ID",
                Some("containerd"),
            ),
            ("/kubepods/burstable/pod1/ID", None),
            (
                "/kubepods.slice/kubepods-pod1.slice/crio-ID.scope",
                Some("cri-o"),
            ),
            ("/machine.slice/libpod-ID.scope/container", Some("podman")),
            (
                "/user.slice/user@1000.service/user.slice/libpod-ID.scope",
                Some("podman"),
            ),
        ] {
            let found = of(&[group(&path.replace("ID", ID))], &[]).unwrap();
            assert_eq!((found.runtime, &*found.id), (runtime, ID), "{path}");
            assert_eq!(found.kind, "container");
        }
        for (path, runtime, name) in [
            ("/lxc.payload.web/system.slice", "lxc", "web"),
            (
                "/machine.slice/systemd-nspawn@web.service/payload",
                "systemd-nspawn",
                "web",
            ),
        ] {
            let found = of(&[group(path)], &[]).unwrap();
            assert_eq!((found.runtime, &*found.id), (Some(runtime), name));
        }
        for path in [
            "/",
            "/system.slice/docker.service",
            "/system.slice/gateway.service",
            "/user.slice/user-1000.slice/session-3.scope",
            "/docker-compose.scope",
        ] {
            assert_eq!(of(&[group(path)], &[]), None, "{path}");
        }
    }

    #[test]
    fn containers_are_known_by_what_is_mounted_where_groups_are_hidden() {
        for (root, runtime, kind) in [
            (
                "/var/lib/docker/containers/ID/hostname",
                "docker",
                "container",
            ),
            (
                "/var/lib/containers/storage/overlay-containers/ID/userdata/hosts",
                "podman",
                "container",
            ),
            (
                "/io.containerd.grpc.v1.cri/sandboxes/ID/resolv.conf",
                "containerd",
                "pod",
            ),
        ] {
            let line = format!("5 4 8:1 {root} /etc/hostname rw - ext4 /dev/sda1 rw");
            let mounts = [
                mount("4 1 8:1 / / rw - ext4 /dev/sda1 rw"),
                mount(&line.replace("ID", ID)),
            ];
            let found = of(&[group("/")], &mounts).unwrap();
            assert_eq!((found.runtime, found.kind), (Some(runtime), kind));
            assert_eq!(found.id, ID);
        }
    }

    #[test]
    fn the_innermost_unit_is_told() {
        for (path, expected) in [
            ("/system.slice/gateway.service", Some("gateway.service")),
            (
                "/user.slice/user@1000.service/app.slice/vim.scope",
                Some("vim.scope"),
            ),
            ("/system.slice", None),
        ] {
            assert_eq!(unit(&[group("/"), group(path)]), expected);
        }
    }
}
