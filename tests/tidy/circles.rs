//! No circle of files: each file of the library and of the program imports only such as do not
//! import it in turn, directly or through others.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{code, none, product, sources};

/// A module by the names on its way from the root.
type Module = Vec<String>;
/// A path as it is written, name by name.
type Names = Vec<String>;

/// What a file imports, and what it shows of others by `pub use`.
#[derive(Default)]
struct Imports {
    uses: Vec<Names>,
    shows: BTreeMap<String, Names>,
}

/// The modules below a root, each with its imports.
struct Tree(BTreeMap<Module, Imports>);

impl Tree {
    fn read(root: &str, without: &[&str]) -> Self {
        let files = sources(&[root]).into_iter();
        let files = files.filter(|(path, _)| !without.iter().any(|dir| path.starts_with(dir)));
        let texts: Vec<(Module, String)> = files
            .map(|(path, text)| {
                let lines = product(&text).map(|(_, line)| code(line));
                let text = lines.collect::<Vec<_>>().join("\n");
                (module(path.strip_prefix(root).unwrap()), text)
            })
            .collect();
        let parsed = texts.into_iter().map(|(name, text)| (name, parse(&text)));
        Self(parsed.collect())
    }

    /// The file that a path leads to, seen from `from`; through what is shown to what is meant.
    fn resolve(
        &self,
        from: &Module,
        path: &[String],
        shown: &mut BTreeSet<Names>,
    ) -> Option<Module> {
        let mut at = from.clone();
        let mut rest = path;
        match path.first()?.as_str() {
            "crate" => (at, rest) = (Module::new(), &path[1..]),
            "self" => rest = &path[1..],
            "super" => {
                while rest.first().is_some_and(|name| name == "super") {
                    at.pop();
                    rest = &rest[1..];
                }
            }
            child if self.0.contains_key(&join(&at, child)) => {}
            _ => return None,
        }
        while let Some(child) = rest.first().map(|name| join(&at, name))
            && self.0.contains_key(&child)
        {
            (at, rest) = (child, &rest[1..]);
        }
        let shows = &self.0.get(&at)?.shows;
        let meant = rest.first().and_then(|name| shows.get(name));
        match meant {
            Some(meant) if shown.insert([at.clone(), meant.clone()].concat()) => {
                let whole = [meant, &rest[1..]].concat();
                self.resolve(&at, &whole, shown)
            }
            _ => Some(at),
        }
    }

    /// Which files each file imports.
    fn edges(&self) -> BTreeMap<&Module, BTreeSet<Module>> {
        let edges = self.0.iter().map(|(module, imports)| {
            let targets = imports.uses.iter();
            let targets =
                targets.filter_map(|path| self.resolve(module, path, &mut BTreeSet::new()));
            (module, targets.filter(|target| target != module).collect())
        });
        edges.collect()
    }
}

fn join(module: &Module, name: &str) -> Module {
    let mut whole = module.clone();
    whole.push(name.to_owned());
    whole
}

/// The module of a file, by its path below the root.
fn module(path: &Path) -> Module {
    let text = path.with_extension("");
    let mut names: Module = text
        .iter()
        .map(|name| name.to_str().unwrap().to_owned())
        .collect();
    if ["mod", "lib", "main"].contains(&names.last().unwrap().as_str()) {
        names.pop();
    }
    names
}

/// The paths of a `use` tree.
fn expand(tree: &str) -> Vec<Names> {
    let tree = tree.trim();
    let Some((head, list)) = tree.strip_suffix('}').and_then(|tree| tree.split_once('{')) else {
        let path = tree.split(" as ").next().unwrap_or_default();
        let names = path
            .split("::")
            .map(str::trim)
            .filter(|name| *name != "self" || tree == "self");
        let names: Names = names.map(str::to_owned).collect();
        return vec![names];
    };
    let head: Names = head
        .split("::")
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    let mut depth = 0;
    let parts = list.split(|c| {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0
    });
    parts
        .filter(|part| !part.trim().is_empty())
        .flat_map(expand)
        .map(|tail| [head.clone(), tail].concat())
        .collect()
}

fn parse(text: &str) -> Imports {
    let mut imports = Imports::default();
    let mut body = String::new();
    for statement in text.split_inclusive([';', '}', '{']) {
        body.push_str(statement);
    }
    let mut rest = body.as_str();
    let mut elsewhere = String::new();
    while let Some(at) = next_use(rest) {
        let (before, statement) = rest.split_at(at);
        elsewhere.push_str(before);
        let (tree, after) = statement["use ".len()..]
            .split_once(';')
            .unwrap_or((statement, ""));
        let line = before.rsplit('\n').next().unwrap_or_default();
        let paths = expand(&tree.replace('\n', " "));
        if line.trim_start().starts_with("pub") {
            let named = paths
                .into_iter()
                .map(|path| (path.last().unwrap().clone(), path));
            imports.shows.extend(named);
        } else {
            imports.uses.extend(paths);
        }
        rest = after;
    }
    elsewhere.push_str(rest);
    let word = |c: char| c == '_' || c == ':' || c.is_alphanumeric();
    for path in elsewhere.split(|c| !word(c)) {
        if path.starts_with("crate::") || path.starts_with("super::") {
            imports
                .uses
                .push(path.split("::").map(str::to_owned).collect());
        }
    }
    imports
}

/// Where the next `use` at the beginning of a line is, perhaps behind `pub`.
fn next_use(text: &str) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = text[from..].find("use ").map(|at| at + from) {
        let line = text[..at].rsplit('\n').next().unwrap_or_default().trim();
        if line.is_empty() || line == "pub" || (line.starts_with("pub(") && line.ends_with(')')) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

/// Files that import each other: from which one comes back to where one was.
fn circle(edges: &BTreeMap<&Module, BTreeSet<Module>>) -> Vec<String> {
    // What imports nothing that is left is in no circle, over and over.
    let mut left: BTreeMap<&Module, BTreeSet<Module>> = edges.clone();
    loop {
        let free: Vec<Module> = left
            .iter()
            .filter(|(_, to)| to.iter().all(|to| !left.contains_key(to)))
            .map(|(module, _)| (*module).clone())
            .collect();
        if free.is_empty() {
            break;
        }
        left.retain(|module, _| !free.contains(module));
    }
    // Nor is what nobody that is left imports.
    loop {
        let wanted: BTreeSet<&Module> = left.values().flatten().collect();
        let before = left.len();
        let kept: BTreeSet<Module> = left
            .keys()
            .filter(|module| wanted.contains(*module))
            .map(|module| (*module).clone())
            .collect();
        left.retain(|module, _| kept.contains(*module));
        if left.len() == before {
            break;
        }
    }
    left.iter()
        .flat_map(|(module, to)| {
            let to = to.iter().filter(|to| left.contains_key(to));
            to.map(|to| format!("{} imports {}", module.join("/"), to.join("/")))
        })
        .collect()
}

#[test]
fn no_files_import_each_other() {
    for (root, without) in [("src", &["src/bin"][..]), ("src/bin/sealcast", &[])] {
        let tree = Tree::read(root, without);
        let edges = tree.edges();
        let count: usize = edges.values().map(BTreeSet::len).sum();
        assert!(
            count > 80,
            "only {count} imports found: is the search right?"
        );
        none("files in a circle", &circle(&edges));
    }
}

#[test]
fn the_search_for_circles_finds_them() {
    let of = |texts: &[(&str, &str)]| {
        let parsed = texts.iter().map(|(name, text)| {
            let name = name.split('/').filter(|name| !name.is_empty());
            (name.map(str::to_owned).collect(), parse(text))
        });
        let tree = Tree(parsed.collect());
        circle(&tree.edges()).len()
    };
    let (a, b) = (
        ("a", "use crate::b::{C, d};"),
        ("b", "fn e() -> super::a::F {}"),
    );
    assert_eq!(of(&[a, b]), 2);
    assert_eq!(of(&[a, ("b", "pub use crate::a::F;")]), 0);
    // What a module shows of its children is theirs.
    let (shown, used) = (("m", "pub use one::One;\n"), ("m/one", "use super::Two;"));
    assert_eq!(of(&[shown, used, ("m/two", "")]), 0);
    assert_eq!(of(&[("m", "use one::One;\nstruct Two;"), used]), 2);
    let shown = ("m", "pub use one::One;\npub use two::Two;\n");
    assert_eq!(of(&[shown, used, ("m/two", "use super::One;")]), 2);
}
