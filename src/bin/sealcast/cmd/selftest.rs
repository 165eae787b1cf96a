//! `sealcast selftest`: the real pipeline, as separate processes, over multicast on loopback.

use std::fs::{self, File};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use sealcast::net::{NetConfig, probe};
use sealcast::sys::{entropy, signals};
use sealcast::tree;
use serde_json::Value;

use crate::cli::SelftestArgs;
use crate::exit::{ExitStatus, Failure};
use crate::present::console::{Console, bytes};

const RECEIVERS: usize = 3;
/// What the last receiver drops of what arrives, in per cent.
const LOSS: &str = "5";

pub(crate) fn run(args: &SelftestArgs, console: &Console) -> Result<(), Failure> {
    let place = Place::new()?;
    let port = 20_000 + u16::from_le_bytes([place.random[0], place.random[1]]) % 40_000;
    check_multicast(port)?;
    let source = match &args.dir {
        Some(dir) if dir.is_dir() => dir.clone(),
        Some(dir) => {
            return Err(Failure::new(
                ExitStatus::Usage,
                format!("{} is not a directory", dir.display()),
            ));
        }
        None => {
            let dir = place.path("tree");
            fs::create_dir(&dir).map_err(|e| Failure::io(&dir.display().to_string(), &e))?;
            tree::sample(&dir)?;
            dir
        }
    };
    console.note("making keys");
    make_keys(&place)?;
    console.note(&format!(
        "casting {} to {RECEIVERS} receivers over loopback; the last one drops {LOSS} % of its \
         datagrams",
        args.dir
            .as_ref()
            .map_or("a generated tree".into(), |dir| dir.display().to_string())
    ));
    let begun = Instant::now();
    let statuses = run_pipeline(&place, &source, port, console)?;
    let elapsed = begun.elapsed().as_secs_f64();
    console.note("comparing the trees");
    let failed = compare(&place, &source, &statuses, console)?;
    table(&place, elapsed, console)?;
    if failed > 0 {
        let message = format!("{failed} of {RECEIVERS} receivers do not have the tree");
        return Err(Failure::new(ExitStatus::Transfer, message)
            .hint("the lines above say what each filter said"));
    }
    console.note("everything arrived");
    Ok(())
}

/// A private directory that goes away with us, and the processes that work in it.
struct Place {
    dir: PathBuf,
    random: [u8; 32],
    children: Arc<Mutex<Vec<Pid>>>,
    _guard: signals::Guard,
}

impl Place {
    fn new() -> Result<Self, Failure> {
        let random = entropy::seed()?;
        let name = format!("sealcast-selftest-{}", hex::encode(&random[..8]));
        let dir = std::env::temp_dir().join(name);
        let mut builder = fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder
            .create(&dir)
            .map_err(|e| Failure::io(&dir.display().to_string(), &e))?;
        let children: Arc<Mutex<Vec<Pid>>> = Arc::default();
        let (doomed, orphans) = (dir.clone(), Arc::clone(&children));
        let guard = signals::on_interrupt(move || {
            kill_all(&orphans);
            // Something may be left behind when even that is not allowed.
            let _ = tree::remove_tree(&doomed);
        })?;
        Ok(Self {
            dir,
            random,
            children,
            _guard: guard,
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Starts one filter of ours; its words go into a file.
    fn start(
        &self,
        log: &str,
        args: &[&str],
        stdin: Stdio,
        stdout: Stdio,
    ) -> Result<Child, Failure> {
        let io = |e| Failure::io(&format!("cannot start sealcast {}", args[0]), &e);
        let program = std::env::current_exe().map_err(io)?;
        let said = File::options()
            .create(true)
            .append(true)
            .open(self.path(log))
            .map_err(io)?;
        let child = Command::new(program)
            .args(args)
            .current_dir(&self.dir)
            .stdin(stdin)
            .stdout(stdout)
            .stderr(said)
            .spawn()
            .map_err(io)?;
        self.children
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Pid::from_child(&child));
        Ok(child)
    }

    /// A process has ended and its number may be another's from now on.
    fn forget(&self, child: &Child) {
        let pid = Pid::from_child(child);
        self.children
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|&p| p != pid);
    }

    fn said(&self, log: &str) -> String {
        fs::read_to_string(self.path(log)).unwrap_or_default()
    }

    /// The last line of a filter's report.
    fn report(&self, name: &str) -> Value {
        let text = fs::read_to_string(self.path(name)).unwrap_or_default();
        text.lines()
            .last()
            .and_then(|line| serde_json::from_str(line).ok())
            .unwrap_or_default()
    }
}

/// Ends all processes and waits for them, so that none writes any more.
fn kill_all(children: &Mutex<Vec<Pid>>) {
    let mut left = children.lock().unwrap_or_else(PoisonError::into_inner);
    for &pid in left.iter() {
        // It may have ended by itself.
        let _ = kill_process(pid, Signal::TERM);
    }
    for _ in 0..100 {
        left.retain(|&pid| matches!(waitpid(Some(pid), WaitOptions::NOHANG), Ok(None)));
        if left.is_empty() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    for &pid in left.iter() {
        let _ = kill_process(pid, Signal::KILL);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        kill_all(&self.children);
        // It was ours alone, and what is left of it does no harm.
        let _ = tree::remove_tree(&self.dir);
    }
}

fn check_multicast(port: u16) -> Result<(), Failure> {
    let net = NetConfig {
        port,
        interface: Some("lo".into()),
        ..NetConfig::default()
    };
    let missing = |text: String| {
        Failure::new(ExitStatus::Local, text)
            .hint("the loopback interface must be up: as root, `ip link set lo up`")
            .hint("a firewall must let UDP to 239.255.0.0/16 through on lo: see `nft list ruleset`")
    };
    match probe(&net) {
        Ok(true) => Ok(()),
        Ok(false) => Err(missing(
            "multicast on the loopback interface does not come back".into(),
        )),
        Err(e) => Err(missing(format!(
            "no multicast on the loopback interface: {e}"
        ))),
    }
}

fn make_keys(place: &Place) -> Result<(), Failure> {
    let make = |args: &[&str], public: &str| -> Result<(), Failure> {
        let io = |e| Failure::io(public, &e);
        let out = File::options()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(place.path(public))
            .map_err(io)?;
        let mut child = place.start("keygen.log", args, Stdio::null(), out.into())?;
        let status = child.wait().map_err(io)?;
        place.forget(&child);
        if status.success() {
            return Ok(());
        }
        Err(Failure::new(
            ExitStatus::Local,
            format!("keygen failed: {}", place.said("keygen.log")),
        ))
    };
    make(&["keygen", "--sign", "-o", "admin.key"], "admin.pub")?;
    for i in 1..=RECEIVERS {
        make(&["keygen", "-o", &format!("node{i}.key")], "nodes.txt")?;
    }
    Ok(())
}

/// How a pipeline of processes ended: the name and status of the first that failed.
struct Ended {
    failure: Option<(String, String)>,
}

/// A pipeline of our own filters.
struct Pipeline {
    children: Vec<(String, Child)>,
}

impl Pipeline {
    fn start(place: &Place, log: &str, filters: &[Vec<&str>]) -> Result<Self, Failure> {
        let mut children = Vec::new();
        let mut stdin = Stdio::null();
        for (i, args) in filters.iter().enumerate() {
            let last = i + 1 == filters.len();
            let stdout = if last { Stdio::null() } else { Stdio::piped() };
            let mut child = place.start(log, args, stdin, stdout)?;
            stdin = child.stdout.take().map_or(Stdio::null(), Stdio::from);
            children.push((args[0].to_owned(), child));
        }
        Ok(Self { children })
    }

    fn end(self, place: &Place) -> Ended {
        let mut failure = None;
        for (name, mut child) in self.children {
            let status = child.wait().map_or_else(
                |e| e.to_string(),
                |s| {
                    if s.success() {
                        String::new()
                    } else {
                        s.to_string()
                    }
                },
            );
            place.forget(&child);
            if !status.is_empty() && failure.is_none() {
                failure = Some((name, status));
            }
        }
        Ended { failure }
    }
}

/// Runs sender and receivers to their end; the sender's comes first.
fn run_pipeline(
    place: &Place,
    source: &Path,
    port: u16,
    console: &Console,
) -> Result<Vec<Ended>, Failure> {
    let absolute =
        fs::canonicalize(source).map_err(|e| Failure::io(&source.display().to_string(), &e))?;
    let source = absolute.to_string_lossy().into_owned();
    let (port, name) = (port.to_string(), hex::encode(&place.random[..4]));
    let net = ["-I", "lo", "--port", &port, "--name", &name];
    let mut pipelines = Vec::new();
    for i in 1..=RECEIVERS {
        let (key, out) = (format!("node{i}.key"), format!("out{i}"));
        let (own, report) = (format!("receiver-{i}"), format!("catch{i}.json"));
        let loss = if i == RECEIVERS { LOSS } else { "0" };
        let mut catch = vec![
            "catch",
            "--as",
            &own,
            "--report",
            &report,
            "--test-loss",
            loss,
        ];
        catch.extend(net);
        catch.extend(["--start-timeout", "30s"]);
        let open = vec!["open", "-i", &key, "--from", "admin.pub"];
        let unpack = vec!["unpack", "--no-sync", "-C", &out];
        pipelines.push(Pipeline::start(
            place,
            &format!("receiver{i}.log"),
            &[catch, open, unpack],
        )?);
    }
    let count = RECEIVERS.to_string();
    let seal = vec![
        "seal",
        "-R",
        "nodes.txt",
        "-s",
        "admin.key",
        "--label",
        "selftest",
    ];
    let mut cast = vec![
        "cast",
        "-n",
        &count,
        "--report",
        "cast.json",
        "--start-timeout",
        "30s",
    ];
    cast.extend(net);
    cast.extend(["--progress", "always"]);
    let sender = Pipeline::start(place, "sender.log", &[vec!["pack", &source], seal, cast])?;
    let ended = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| sender.end(place));
        while !waiting.is_finished() {
            console.progress(|| last_words(&place.said("sender.log")));
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        waiting.join()
    });
    let sender = ended.map_err(|_| Failure::new(ExitStatus::Bug, "the waiting thread died"))?;
    Ok(std::iter::once(sender)
        .chain(pipelines.into_iter().map(|p| p.end(place)))
        .collect())
}

fn last_words(said: &str) -> String {
    said.lines()
        .last()
        .unwrap_or_default()
        .trim_start_matches("sealcast cast: ")
        .to_owned()
}

/// Compares each receiver's tree with the source; says what is wrong and returns how many are.
fn compare(
    place: &Place,
    source: &Path,
    statuses: &[Ended],
    console: &Console,
) -> Result<usize, Failure> {
    if let Some((filter, status)) = &statuses[0].failure {
        console.warning(&format!("{filter} on the sender ended with {status}:"));
        console.note(place.said("sender.log").trim_end());
    }
    let mut failed = 0;
    for (i, ended) in (1..).zip(&statuses[1..]) {
        if let Some((filter, status)) = &ended.failure {
            failed += 1;
            console.warning(&format!("{filter} on receiver {i} ended with {status}:"));
            console.note(place.said(&format!("receiver{i}.log")).trim_end());
            continue;
        }
        let differences = tree::differences(source, &place.path(&format!("out{i}")))?;
        let mut wrong = differences
            .iter()
            .filter(|text| !is_tolerated(text))
            .peekable();
        failed += usize::from(wrong.peek().is_some());
        for text in wrong.take(20) {
            console.warning(&format!("receiver {i}: {text}"));
        }
    }
    Ok(failed + usize::from(failed == 0 && statuses[0].failure.is_some()))
}

/// Another file system may keep holes in other places: that is no loss.
fn is_tolerated(difference: &str) -> bool {
    difference.contains(": holes ")
}

fn table(place: &Place, elapsed: f64, console: &Console) -> Result<(), Failure> {
    let cast = place.report("cast.json");
    let number = |value: &Value, key: &str| value[key].as_u64().unwrap_or(0);
    let (sent, wire) = (number(&cast, "bytes"), number(&cast, "wire_bytes"));
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let overhead = (wire as f64 / sent.max(1) as f64 - 1.0) * 100.0;
    let mut lines = vec![
        format!(
            "{:<12} {:>12} {:>10} {:>10}",
            "", "bytes", "lost", "repaired"
        ),
        format!(
            "{:<12} {:>12} {:>10} {:>10}",
            "sender",
            bytes(sent),
            "-",
            "-"
        ),
    ];
    for i in 1..=RECEIVERS {
        let report = place.report(&format!("catch{i}.json"));
        lines.push(format!(
            "{:<12} {:>12} {:>10} {:>10}",
            format!("receiver-{i}"),
            bytes(number(&report, "bytes")),
            number(&report, "lost"),
            number(&report, "repaired"),
        ));
    }
    lines.push(format!(
        "{elapsed:.2} s in all; {} on the wire, {overhead:.1} % more than the data; {} repair \
         symbols to {}",
        bytes(wire),
        number(&cast, "repair"),
        number(&cast, "source"),
    ));
    for line in lines {
        console.note(&line);
    }
    Ok(())
}
