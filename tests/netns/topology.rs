//! One switch, one sender and N receivers, each in a namespace of its own.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Labs and scripts of this process, so that names differ.
static COUNT: AtomicU32 = AtomicU32::new(0);

pub fn have(tool: &str) -> bool {
    let found = Command::new("sh")
        .args(["-c", &format!("command -v {tool}")])
        .output();
    found.is_ok_and(|o| o.status.success())
}

fn ok(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn batch(args: &[&str], lines: &str) {
    let mut child = Command::new("ip")
        .args(args)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(lines.as_bytes())
        .unwrap();
    assert!(child.wait().unwrap().success(), "ip {args:?} <<\n{lines}");
}

pub struct Lab {
    prefix: String,
    receivers: usize,
    pub dir: tempfile::TempDir,
}

impl Lab {
    pub fn new(receivers: usize) -> Self {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("sc{}x{number}", std::process::id());
        let lab = Self {
            prefix,
            receivers,
            dir: tempfile::tempdir().unwrap(),
        };
        lab.build();
        lab
    }

    fn name(&self, node: &str) -> String {
        format!("{}-{node}", self.prefix)
    }

    fn nodes(&self) -> Vec<String> {
        let receivers = (1..=self.receivers).map(|i| format!("r{i}"));
        std::iter::once("s".to_owned()).chain(receivers).collect()
    }

    fn build(&self) {
        let switch = self.name("sw");
        let mut lines = format!("netns add {switch}\n");
        for node in self.nodes() {
            writeln!(lines, "netns add {}", self.name(&node)).unwrap();
        }
        batch(&["-batch", "-"], &lines);
        // The querier's interval first, the querier after: then snooping is active at once.
        let mut lines = String::from(
            "link add name br0 type bridge mcast_snooping 1 mcast_query_response_interval 100\n\
             link set br0 type bridge mcast_querier 1\nlink set br0 up\n",
        );
        for node in self.nodes() {
            let peer = self.name(&node);
            writeln!(
                lines,
                "link add name {node} type veth peer name eth0 netns {peer}"
            )
            .unwrap();
            writeln!(lines, "link set {node} master br0 up").unwrap();
        }
        batch(&["-n", &switch, "-batch", "-"], &lines);
        for (i, node) in self.nodes().iter().enumerate() {
            let ns = self.name(node);
            let lines = format!(
                "link set lo up\nlink set eth0 up\naddr add 10.83.0.{}/24 dev eth0\n\
                 addr add fd83::{}/64 dev eth0 nodad\nroute add 224.0.0.0/4 dev eth0\n",
                i + 1,
                i + 1
            );
            batch(&["-n", &ns, "-batch", "-"], &lines);
            // The sender's kernel cuts datagrams before the wire: loss hits single datagrams.
            let off = [
                "-K",
                "eth0",
                "tso",
                "off",
                "gso",
                "off",
                "tx-udp-segmentation",
                "off",
            ];
            ok(Command::new("ip")
                .args(["netns", "exec", &ns, "ethtool"])
                .args(off));
        }
        std::thread::sleep(Duration::from_millis(1200));
    }

    /// Lets nothing out of a node but what asks a switch for groups.
    pub fn mute(&self, node: &str) {
        let rules = "table inet mute {\nchain out {\n\
                     type filter hook output priority 0; policy accept;\n\
                     meta l4proto { igmp, ipv6-icmp } accept\n\
                     oifname \"eth0\" counter drop\n}\n}";
        self.nft(node, rules);
    }

    /// Bytes that a node tried to send since it was muted.
    pub fn spoken(&self, node: &str) -> u64 {
        let output = Command::new("ip")
            .args(["netns", "exec", &self.name(node)])
            .args(["nft", "-j", "list", "table", "inet", "mute"])
            .output()
            .unwrap();
        let listed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let entries = listed["nftables"].as_array().unwrap();
        let terms = entries
            .iter()
            .filter_map(|entry| entry["rule"]["expr"].as_array())
            .flatten();
        terms
            .filter_map(|term| term["counter"]["bytes"].as_u64())
            .sum()
    }

    /// Drops this share of what goes to each receiver, independently.
    pub fn lose(&self, percent: f64) {
        let mut rules = String::from("table netdev loss\ndelete table netdev loss\n");
        rules.push_str("table netdev loss {\n");
        for i in 1..=self.receivers {
            writeln!(
                rules,
                "chain c{i} {{ type filter hook egress device \"r{i}\" priority 0; policy accept;\n\
                 meta l4proto udp numgen random mod 1000000 < {} drop; }}",
                (percent * 10_000.0) as u32
            )
            .unwrap();
        }
        rules.push_str("}\n");
        self.nft("sw", &rules);
    }

    /// Drops this share of what goes to each receiver, in bursts of this mean length: each datagram
    /// begins one or ends the one that is going on by chance.
    pub fn lose_in_bursts(&self, percent: f64, mean: f64) {
        let leave = 1.0 / mean;
        let enter = leave * percent / (100.0 - percent);
        let ppm = |share: f64| (share * 1e6) as u32;
        let mut rules = String::from("table netdev bursts {\ncounter begun { }\n");
        rules.push_str("counter lost { }\n");
        for i in 1..=self.receivers {
            writeln!(
                rules,
                "set bad{i} {{ type inet_proto; flags dynamic; size 2; }}\n\
                 chain b{i} {{ counter name lost;\n\
                 numgen random mod 1000000 < {} delete @bad{i} {{ meta l4proto }};\ndrop; }}\n\
                 chain c{i} {{ type filter hook egress device \"r{i}\" priority 0; policy accept;\n\
                 meta l4proto @bad{i} jump b{i}\n\
                 meta l4proto udp numgen random mod 1000000 < {} counter name begun \
                 add @bad{i} {{ meta l4proto }} jump b{i}; }}",
                ppm(leave),
                ppm(enter)
            )
            .unwrap();
        }
        rules.push_str("}\n");
        self.nft("sw", &rules);
    }

    /// How many bursts began, and how many datagrams they took.
    pub fn bursts(&self) -> (u64, u64) {
        let count = |counter| -> u64 {
            let output = Command::new("ip")
                .args(["netns", "exec", &self.name("sw"), "nft", "list", "counter"])
                .args(["netdev", "bursts", counter])
                .output()
                .unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            let mut numbers = text.split_whitespace().filter_map(|w| w.parse().ok());
            numbers.next().unwrap()
        };
        (count("begun"), count("lost"))
    }

    /// Drops the first `count` datagrams that come to each node.
    pub fn lose_first(&self, count: u32) {
        let mut rules = String::from("table netdev first {\n");
        for node in self.nodes() {
            writeln!(
                rules,
                "chain {node} {{ type filter hook egress device \"{node}\" priority 1;\n\
                 policy accept; meta l4proto udp numgen inc mod 1000000 < {count} drop; }}",
            )
            .unwrap();
        }
        rules.push_str("}\n");
        self.nft("sw", &rules);
    }

    /// Loads rules on a node.
    pub fn nft(&self, node: &str, rules: &str) {
        let mut nft = Command::new("ip")
            .args(["netns", "exec", &self.name(node), "nft", "-f", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        nft.stdin
            .take()
            .unwrap()
            .write_all(rules.as_bytes())
            .unwrap();
        assert!(nft.wait().unwrap().success(), "{rules}");
    }

    /// Drops this share of what goes to one receiver.
    pub fn lose_at(&self, node: &str, percent: f64) {
        let share = (percent * 10_000.0) as u32;
        let hook = format!("type filter hook egress device \"{node}\" priority 0");
        let rule = format!("meta protocol ip numgen random mod 1000000 < {share} drop");
        let rules =
            format!("table netdev one {{\nchain c {{\n{hook}; policy accept;\n{rule};\n}}\n}}");
        ok(Command::new("ip").args(["netns", "exec", &self.name("sw"), "nft", &rules]));
    }

    /// Limits the link of a node, what comes out of it and what goes to it, with queues as in a
    /// small switch.
    pub fn cap(&self, node: &str, mbit: u32) {
        let limit = |ns: &str, device: &str, queue: &str| {
            let shape = format!("rate {mbit}mbit burst 64kb limit {queue}");
            ok(Command::new("ip")
                .args(["netns", "exec", ns, "tc", "qdisc", "replace", "dev", device])
                .args(["root", "tbf"])
                .args(shape.split(' ')));
        };
        limit(&self.name(node), "eth0", "1mb");
        limit(&self.name("sw"), node, "512kb");
    }

    /// Sets the MTU of every cable.
    pub fn mtu(&self, bytes: u32) {
        for node in self.nodes() {
            self.mtu_of(&node, bytes);
        }
    }

    /// Sets the MTU of a node's cable.
    pub fn mtu_of(&self, node: &str, bytes: u32) {
        let bytes = bytes.to_string();
        for (ns, link) in [("sw", node), (node, "eth0")] {
            let ns = self.name(ns);
            ok(Command::new("ip").args(["-n", &ns, "link", "set", link, "mtu", &bytes]));
        }
    }

    /// Lets no more than `rate` through to a node, with the queue of a small switch.
    pub fn shape(&self, node: &str, rate: &str) {
        let args = ["tbf", "rate", rate, "burst", "16k", "limit", "256k"];
        ok(Command::new("ip")
            .args(["netns", "exec", &self.name("sw"), "tc", "qdisc", "add"])
            .args(["dev", node, "root"])
            .args(args));
    }

    /// Runs `ip` on a node for each line.
    pub fn ip(&self, node: &str, lines: &str) {
        batch(&["-n", &self.name(node), "-batch", "-"], lines);
    }

    /// Takes the network card of a node out, and puts another one in its place.
    pub fn renew(&self, node: &str) {
        let (peer, at) = (self.name(node), self.nodes().iter().position(|n| n == node));
        let at = at.unwrap() + 1;
        self.ip("sw", &format!("link del {node}\n"));
        let link = format!(
            "link add name {node} type veth peer name eth0 netns {peer}\n\
             link set {node} master br0 up\n"
        );
        self.ip("sw", &link);
        let lines = format!(
            "link set eth0 up\naddr add 10.83.0.{at}/24 dev eth0\n\
             addr add fd83::{at}/64 dev eth0 nodad\nroute add 224.0.0.0/4 dev eth0\n"
        );
        self.ip(node, &lines);
    }

    /// Cuts or mends the cable of a node.
    pub fn cable(&self, node: &str, up: bool) {
        let state = if up { "up" } else { "down" };
        ok(Command::new("ip").args(["-n", &self.name("sw"), "link", "set", node, state]));
    }

    /// Bytes that the sender put on the wire so far.
    pub fn wire_bytes(&self) -> u64 {
        let output = Command::new("ip")
            .args([
                "netns",
                "exec",
                &self.name("s"),
                "cat",
                "/sys/class/net/eth0/statistics/tx_bytes",
            ])
            .output()
            .unwrap();
        String::from_utf8(output.stdout)
            .unwrap()
            .trim()
            .parse()
            .unwrap()
    }

    /// Starts a shell script on a node, with `sealcast` in its path; it is a process group of its
    /// own, and what it says is kept in a file.
    pub fn start(&self, node: &str, script: &str) -> Job {
        let binary = Path::new(env!("CARGO_BIN_EXE_sealcast"));
        let path = format!(
            "{}:{}",
            binary.parent().unwrap().display(),
            std::env::var("PATH").unwrap()
        );
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let log = self.dir.path().join(format!("{node}-{number}.log"));
        let said = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        let child = Command::new("ip")
            .args([
                "netns",
                "exec",
                &self.name(node),
                "setsid",
                "-w",
                "bash",
                "-o",
                "pipefail",
                "-c",
            ])
            .arg(script)
            .env("PATH", path)
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(said.try_clone().unwrap())
            .stderr(said)
            .spawn()
            .unwrap();
        Job {
            child,
            log,
            what: format!("{node}: {script}"),
        }
    }

    /// Sends `signal` to the processes on a node whose command line matches.
    pub fn signal(&self, node: &str, signal: &str, pattern: &str) {
        let hit = self.running(node, pattern);
        assert!(!hit.is_empty(), "no process on {node} matches {pattern}");
        for pid in hit {
            ok(Command::new("kill").args([&format!("-{signal}"), &pid]));
        }
    }

    /// The processes on a node whose command line matches, but for what started them.
    pub fn running(&self, node: &str, pattern: &str) -> Vec<String> {
        let output = Command::new("ip")
            .args(["netns", "pids", &self.name(node)])
            .output()
            .unwrap();
        let pids = String::from_utf8(output.stdout).unwrap();
        let matches = |pid: &&str| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            let first = line.split(' ').next().unwrap_or_default();
            let shell = ["bash", "setsid", "ip"].contains(&first);
            !shell && line.contains(pattern)
        };
        let pids = pids.split_whitespace().filter(matches);
        pids.map(str::to_owned).collect()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let nodes = self
            .nodes()
            .into_iter()
            .chain(std::iter::once("sw".to_owned()));
        for node in nodes {
            let ns = self.name(&node);
            if let Ok(output) = Command::new("ip").args(["netns", "pids", &ns]).output() {
                for pid in String::from_utf8_lossy(&output.stdout).split_whitespace() {
                    let _ = Command::new("kill").args(["-9", pid]).status();
                }
            }
            let _ = Command::new("ip").args(["netns", "del", &ns]).status();
        }
    }
}

/// A script that runs on a node.
pub struct Job {
    child: Child,
    log: PathBuf,
    what: String,
}

impl Job {
    /// Waits for the end; a script that takes longer than `seconds` hangs.
    pub fn end(mut self, seconds: u64) -> ExitStatus {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            if Instant::now() > deadline {
                let said = self.said();
                let _ = self.child.kill();
                panic!("{} hangs; it said:\n{said}", self.what);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for the end: the exit status, and what its node has said.
    pub fn wait(self, seconds: u64) -> (Option<i32>, String) {
        let log = self.log.clone();
        let status = self.end(seconds);
        (
            status.code(),
            std::fs::read_to_string(log).unwrap_or_default(),
        )
    }

    /// Waits for the end and demands an exit status.
    pub fn ends_with(self, code: i32, seconds: u64) {
        let (log, what) = (self.log.clone(), self.what.clone());
        let status = self.end(seconds);
        let said = std::fs::read_to_string(log).unwrap_or_default();
        assert_eq!(status.code(), Some(code), "{what}\nit said:\n{said}");
    }

    /// What its node has said so far.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until its node has said `text`.
    pub fn says(&self, text: &str, seconds: u64) {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        while !self.said().contains(text) {
            assert!(
                Instant::now() < deadline,
                "{} never says {text}:\n{}",
                self.what,
                self.said()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
