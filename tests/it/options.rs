//! Options of pack and unpack that choose what is packed and whose it becomes.

use std::fs;
use std::os::unix::fs::MetadataExt;

use rustix::fs::{XattrFlags, getxattr, setxattr};
use sealcast::archive::acl::{ACCESS, DEFAULT, from_text};

use crate::archive::{good, only, said, shell, unpack};
use crate::support::{root, run};

#[test]
fn owners_are_mapped() {
    if !root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    shell(
        "mkdir -p a/d; echo x > a/file; ln -s x a/link; mkfifo a/d/fifo; \
         chown -h 1000:1001 a a/d a/link a/d/fifo; chown 5:6 a/file; chmod 4755 a/file",
        dir.path(),
    );
    let list = |user: u32, group: u32| {
        let text = format!("u::rwx,u:{user}:r,g::rx,g:{group}:r,m::rx,o::rx");
        from_text(text.as_bytes(), &|_, _| None).unwrap()
    };
    for name in [ACCESS, DEFAULT] {
        let value = list(1007, 1008);
        setxattr(at("a/d"), name, &value, XattrFlags::empty()).unwrap();
    }
    let tar = run(&["pack", at("a").to_str().unwrap()], b"").stdout;
    let map = ["--map-owner", "1000:200000:10", "--map-owner", "5:0:2"];
    good(&unpack(&tar, &at("b"), &map));
    let who = |name: &str| {
        let there = fs::symlink_metadata(at("b").join(name)).unwrap();
        (there.uid(), there.gid())
    };
    assert_eq!(who("file"), (0, 1));
    for name in [".", "d", "link", "d/fifo"] {
        assert_eq!(who(name), (200_000, 200_001), "{name}");
    }
    assert_eq!(fs::metadata(at("b/file")).unwrap().mode() & 0o7777, 0o4755);
    for name in [ACCESS, DEFAULT] {
        let mut value = vec![0; 1024];
        let len = getxattr(at("b/d"), name, &mut value[..]).unwrap();
        assert_eq!(value[..len], list(200_007, 200_008));
    }
    // Somebody is missing: first an owner, then one who is only in a list.
    let out = unpack(&tar, &at("c"), &["--map-owner", "1000:0:10"]);
    assert_eq!(out.status.code(), Some(3), "{}", said(&out));
    assert!(said(&out).contains("file belongs to 5 "), "{}", said(&out));
    let few = ["--map-owner", "1000:0:2", "--map-owner", "5:0:2"];
    let out = unpack(&tar, &at("c"), &few);
    assert_eq!(out.status.code(), Some(3), "{}", said(&out));
    assert!(said(&out).contains("d belongs to 1007 "), "{}", said(&out));
    let out = unpack(
        &tar,
        &at("c"),
        &["--map-owner", "1:1:9", "--map-owner", "5:0"],
    );
    assert_eq!(out.status.code(), Some(2), "{}", said(&out));
    only(dir.path(), &["a", "b"]);
    good(&unpack(
        &tar,
        &at("c"),
        &[&few[..], &["--no-xattrs"]].concat(),
    ));
}
