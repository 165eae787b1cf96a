//! Where an archive is restored to: existing targets, the current directory, mount points.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use crate::archive::{READ_ONLY, good, only, said, same, shell, small, unpack};
use crate::support::{feed, root, sealcast};

#[test]
fn an_existing_target_is_respected() {
    let dir = tempfile::tempdir().unwrap();
    let tar = small(dir.path());
    let a = dir.path().join("small");
    let b = dir.path().join("b");
    // An empty directory gives way to the tree, metadata and all.
    fs::create_dir(&b).unwrap();
    good(&unpack(&tar, &b, &[]));
    same(&a, &b);
    // One with contents does not.
    let out = unpack(&tar, &b, &[]);
    assert_eq!(out.status.code(), Some(2), "{}", said(&out));
    assert!(said(&out).contains("--replace"));
    // Unless it shall be replaced, which a bad archive does not do.
    fs::write(b.join("old"), "old").unwrap();
    assert_eq!(
        unpack(&tar[..1024], &b, &["--replace"]).status.code(),
        Some(3)
    );
    assert!(b.join("old").exists());
    good(&unpack(&tar, &b, &["--replace"]));
    same(&a, &b);
    // Or added to.
    fs::write(b.join("old"), "old").unwrap();
    fs::write(b.join("empty"), "not any more").unwrap();
    fs::remove_file(b.join("d/sym")).unwrap();
    good(&unpack(&tar, &b, &["--merge"]));
    assert_eq!(fs::read(b.join("old")).unwrap(), b"old");
    fs::remove_file(b.join("old")).unwrap();
    fs::File::open(&b)
        .unwrap()
        .set_modified(fs::metadata(&a).unwrap().modified().unwrap())
        .unwrap();
    same(&a, &b);
    // A file does not give way to a directory, and nothing else is touched then.
    fs::remove_dir_all(b.join("d")).unwrap();
    fs::write(b.join("d"), "file").unwrap();
    fs::remove_file(b.join("empty")).unwrap();
    let out = unpack(&tar, &b, &["--merge"]);
    assert_eq!(out.status.code(), Some(1), "{}", said(&out));
    only(&b, &["d"]);
    // A file, or a link to nowhere, is no target.
    fs::write(dir.path().join("f"), "f").unwrap();
    assert_eq!(
        unpack(&tar, &dir.path().join("f"), &[]).status.code(),
        Some(2)
    );
    symlink("nowhere", dir.path().join("l")).unwrap();
    assert_eq!(
        unpack(&tar, &dir.path().join("l"), &[]).status.code(),
        Some(2)
    );
    only(dir.path(), &["b", "f", "l", "small"]);
}

#[test]
fn the_current_directory_stays_the_same_one() {
    let dir = tempfile::tempdir().unwrap();
    let tar = small(dir.path());
    let b = dir.path().join("b");
    fs::create_dir(&b).unwrap();
    let before = fs::metadata(&b).unwrap().ino();
    let mut command = sealcast();
    command.args(["unpack", "-C", "."]).current_dir(&b);
    good(&feed(command, &tar));
    assert_eq!(fs::metadata(&b).unwrap().ino(), before);
    same(&dir.path().join("small"), &b);
}

#[test]
fn a_mount_point_is_filled_in_place() {
    if !root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let tar = small(dir.path());
    fs::write(dir.path().join("archive"), &tar).unwrap();
    let bin = env!("CARGO_BIN_EXE_sealcast");
    // In a mount namespace of its own, so that nothing stays mounted.
    let script = format!(
        "mkdir m; mount -t tmpfs -o size=1m none m; {bin} unpack -C m < archive; \
         test \"$(ls -A m)\" = \"$(ls -A small)\"; test $(stat -c %Y m) = $(stat -c %Y small); \
         head -c 900000 /dev/urandom > m/junk; \
         ! {bin} unpack -C m < archive 2> words; grep -q 'not empty' words; \
         head -c 3000000 /dev/urandom > small/big; {bin} pack small > archive2; \
         s=0; {bin} unpack --replace -C m < archive2 2> words || s=$?; test $s = 1; \
         grep -q 'No space' words; test -s m/junk; \
         test \"$(ls -A m)\" = \"$(printf 'd\\nempty\\njunk')\"; \
         {READ_ONLY}; s=0; {bin} unpack -C m/new < archive 2> words || s=$?; \
         test $s = 1; grep -q 'Read-only' words"
    );
    let script = format!(
        "unshare -m bash -euo pipefail -c '{}'",
        script.replace('\'', "'\\''")
    );
    shell(&script, dir.path());
}

#[test]
fn what_is_mounted_in_an_old_tree_survives() {
    if !root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("archive"), small(dir.path())).unwrap();
    let bin = env!("CARGO_BIN_EXE_sealcast");
    // Beside the target, in a mount point, and by a merge; on directories and on a file.
    let script = format!(
        "mount --make-rprivate /; mkdir -p precious img/d/mnt m; echo data > precious/important; \
         echo old > img/d/old; mount --bind precious img/d/mnt; \
         s=0; {bin} unpack --replace --no-sync -C img < archive 2> words || s=$?; \
         test $s = 1; grep -q 'mounted on .*/img/d/mnt' words; \
         test $(cat precious/important) = data; test $(cat img/d/old) = old; \
         test \"$(ls -A)\" = \"$(printf 'archive\\nimg\\nm\\nprecious\\nsmall\\nwords')\"; \
         umount img/d/mnt; mount --bind precious/important img/d/old; \
         ! {bin} unpack --replace --no-sync -C img < archive 2> words; \
         grep -q 'mounted on .*/img/d/old' words; umount img/d/old; \
         mount -t tmpfs none m; mkdir m/a m/d; echo 1 > m/a/one; mount --bind precious m/d; \
         ! {bin} unpack --replace --no-sync -C m < archive 2> words; \
         grep -q 'mounted on .*/m/d' words; test $(cat m/a/one) = 1; \
         {bin} unpack --merge --no-sync -C m < archive; mountpoint -q m/d; \
         test -s precious/file; test -s precious/important; \
         test $(stat -c %Y precious) = $(stat -c %Y small/d); \
         test $(stat -c %h precious/link) = 2; test -e m/empty; umount m/d; \
         test -z \"$(ls -A m/d)\"; \
         {bin} unpack --replace --no-sync -C img < archive; test ! -e img/d/old"
    );
    let script = format!(
        "unshare -m bash -euo pipefail -c '{}'",
        script.replace('\'', "'\\''")
    );
    shell(&script, dir.path());
}

#[test]
fn the_root_of_a_new_file_system_counts_as_empty() {
    if !root() || !crate::support::have("mkfs.ext4") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("archive"), small(dir.path())).unwrap();
    let unpack = format!("{} unpack -C m", env!("CARGO_BIN_EXE_sealcast"));
    let script = format!(
        "truncate -s 32M img; mkfs.ext4 -q -F img; mkdir m; mount -o loop img m; \
         {unpack} < archive; test -d m/lost+found; test -e m/d; touch m/old; \
         {unpack} --replace < archive; test -d m/lost+found; test -e m/d; test ! -e m/old"
    );
    shell(
        &format!("unshare -m bash -euo pipefail -c '{script}'"),
        dir.path(),
    );
}

#[test]
fn a_target_that_cannot_be_renamed_is_filled_where_it_is() {
    if !root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("archive"), small(dir.path())).unwrap();
    let bin = env!("CARGO_BIN_EXE_sealcast");
    // A directory of a lower layer.
    let script = format!(
        "mkdir -p low/srv/image/old/deep m up; echo old > low/srv/image/old/deep/f; \
         mount -t tmpfs t up; mkdir up/u up/w; \
         mount -t overlay o -o lowerdir=low,upperdir=up/u,workdir=up/w,redirect_dir=off m || \
         exit 0; {bin} unpack --no-sync --replace -C m/srv/image < archive; \
         test \"$(ls -A m/srv/image)\" = \"$(ls -A small)\"; test \"$(ls -A m/srv)\" = image; \
         test $(stat -c %Y m/srv/image) = $(stat -c %Y small)"
    );
    shell(
        &format!(
            "unshare -m bash -euo pipefail -c '{}'",
            script.replace('\'', "'\\''")
        ),
        dir.path(),
    );
}

#[test]
fn nothing_but_a_mode_needs_proc() {
    if !root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    shell(
        "mkdir t; mkfifo -m 640 t/p; mknod t/n c 1 3; ln -s x t/l",
        dir.path(),
    );
    fs::write(
        dir.path().join("archive"),
        crate::archive::pack(&[], &dir.path().join("t")),
    )
    .unwrap();
    shell("chown 5 t/p; chmod 4640 t/p", dir.path());
    fs::write(
        dir.path().join("hard"),
        crate::archive::pack(&[], &dir.path().join("t")),
    )
    .unwrap();
    let bin = env!("CARGO_BIN_EXE_sealcast");
    let script = format!(
        "mount -t tmpfs none /proc; {bin} unpack --no-sync -C b < archive; test -p b/p; \
         test $(stat -c %a b/p) = 640; test -c b/n; \
         ! {bin} unpack --no-sync -C c < hard 2> words; grep -q 'of p: /proc is not' words"
    );
    shell(
        &format!(
            "unshare -m bash -euo pipefail -c '{}'",
            script.replace('\'', "'\\''")
        ),
        dir.path(),
    );
}

#[test]
fn an_ordinary_user_may_close_directories_and_replace_them() {
    if !root() || !crate::support::have("setpriv") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let bin = dir.path().join("sealcast");
    fs::copy(env!("CARGO_BIN_EXE_sealcast"), &bin).unwrap();
    // Neither to be written to, nor to be read, nor to be entered; below the root.
    let user = "setpriv --reuid=65534 --regid=65534 --clear-groups";
    let script = format!(
        "chmod 755 .; mkdir -p t/ro/in t/shut/a t/wx; echo 1 > t/ro/f; echo 2 > t/ro/in/g; \
         echo 3 > t/shut/h; chmod 500 t/ro/in; chmod 555 t/ro; chmod 100 t/shut; chmod 300 t/wx; \
         chmod 755 t; {bin} pack t > archive; mkdir u; chmod 777 u; cd u; \
         good() {{ test $(stat -c %a o o/ro o/ro/in o/shut o/wx | tr -d '\\n') = 755555500100300; \
         test $(cat o/ro/in/g) = 2; test \"$(ls -A)\" = o; \
         test \"$(ls -A o)\" = \"$(ls -A ../t)\"; }}; \
         for how in '' --replace --merge --replace --merge; do \
         {user} {bin} unpack -q --no-sync $how -C o < ../archive; good; done",
        bin = bin.display()
    );
    shell(&script, dir.path());
}

#[test]
fn a_limit_of_file_sizes_is_told_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let bin = env!("CARGO_BIN_EXE_sealcast");
    let script = format!(
        "mkdir s x; head -c 3000000 /dev/urandom > s/big; {bin} pack s > a; ulimit -f 1000; \
         r=0; {bin} unpack -C b < a 2> words || r=$?; test $r = 1; \
         grep -q 'cannot write big: File too large' words; grep -q 'ulimit -f' words; \
         r=0; {bin} pack s -o x/o 2> words || r=$?; test $r = 1; grep -q 'x/o: File too' words; \
         rm words; test \"$(ls -A)\" = \"$(printf 'a\\ns\\nx')\"; test -z \"$(ls -A x)\""
    );
    shell(&script, dir.path());
}
