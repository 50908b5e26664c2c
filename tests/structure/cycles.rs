//! Circles of imports among the files of `src`.
//!
//! An import is any path that begins with `crate`, `self` or `super`, in a `use` or elsewhere. It leads to the file of the
//! deepest module that it names; a name that a `mod.rs` re-exports leads to where it comes from. What a `mod.rs` declares or
//! re-exports is no import of its own. Modules under `#[cfg(test)]` do not count, inside macros only whole paths do.

use proc_macro2::{TokenStream, TokenTree};
use std::collections::{BTreeMap, BTreeSet};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemMod, ItemUse, UseTree, Visibility};

type ModulePath = Vec<String>;

/// The module that a file of `src` is: `src/queue/mod.rs` is `[queue]`.
fn module_of(path: &str) -> ModulePath {
    let path = path.trim_start_matches("src/").trim_end_matches(".rs");
    let mut parts: ModulePath = path.split('/').map(str::to_owned).collect();
    if matches!(parts.last().map(String::as_str), Some("mod" | "lib")) {
        parts.pop();
    }
    parts
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let tokens = quote::ToTokens::to_token_stream(&attribute.meta).to_string();
        tokens.starts_with("cfg") && tokens.contains("test") && !tokens.contains("not (test")
    })
}

/// What one file imports and re-exports, as absolute paths of modules and names.
#[derive(Default)]
struct Imports {
    module: ModulePath,
    is_root_of_folder: bool,
    used: BTreeSet<ModulePath>,
    /// Name -> where it comes from.
    exported: BTreeMap<String, ModulePath>,
    /// Where each `pub use path::*` leads.
    globs: Vec<ModulePath>,
    inner: Vec<String>,
}

impl Imports {
    /// The absolute form of a path that starts inside the crate.
    fn absolute(&self, path: &[String]) -> Option<ModulePath> {
        let mut module: ModulePath = self.module.iter().chain(&self.inner).cloned().collect();
        let mut rest = path.iter().peekable();
        match rest.next()?.as_str() {
            "crate" => module.clear(),
            "self" => {}
            "super" => {
                module.pop();
                while rest.next_if(|part| *part == "super").is_some() {
                    module.pop();
                }
            }
            _ => return None,
        }
        module.extend(rest.cloned());
        Some(module)
    }

    fn add_use(&mut self, tree: &UseTree, before: &mut Vec<String>, is_export: bool) {
        match tree {
            UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.add_use(&path.tree, before, is_export);
                before.pop();
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.add_use(tree, before, is_export);
                }
            }
            UseTree::Name(name) => {
                let name = name.ident.to_string();
                self.add_name(before, &name, &name, is_export);
            }
            UseTree::Rename(rename) => {
                let (name, new) = (rename.ident.to_string(), rename.rename.to_string());
                self.add_name(before, &name, &new, is_export);
            }
            UseTree::Glob(_) => {
                let own = self.resolve_relative(before);
                if let Some(path) = own {
                    if is_export {
                        self.globs.push(path);
                    } else {
                        self.used.insert(path);
                    }
                }
            }
        }
    }

    fn add_name(&mut self, before: &[String], name: &str, new: &str, is_export: bool) {
        let mut path = before.to_vec();
        if name != "self" {
            path.push(name.to_owned());
        }
        let Some(path) = self.resolve_relative(&path) else {
            return;
        };
        if is_export && self.is_root_of_folder {
            self.exported.insert(new.to_owned(), path);
        } else {
            self.used.insert(path);
        }
    }

    /// Adds the paths from `crate` in the input of a macro. Literals, which include documentation, are skipped.
    fn add_tokens(&mut self, tokens: TokenStream) {
        let (mut path, mut colons) = (Vec::new(), 0);
        for token in tokens {
            match token {
                TokenTree::Ident(name) if colons == 2 => path.push(name.to_string()),
                TokenTree::Punct(mark) if mark.as_char() == ':' => {
                    colons += 1;
                    continue;
                }
                other => {
                    self.add_path_from_crate(&path);
                    path.clear();
                    match other {
                        TokenTree::Ident(name) => path.push(name.to_string()),
                        TokenTree::Group(group) => self.add_tokens(group.stream()),
                        _ => {}
                    }
                }
            }
            colons = 0;
        }
        self.add_path_from_crate(&path);
    }

    fn add_path_from_crate(&mut self, path: &[String]) {
        if path.first().is_some_and(|first| first == "crate") {
            self.used.extend(self.absolute(path));
        }
    }

    /// As `absolute`, for `use` in a `mod.rs`, where a path may begin with the name of a child.
    fn resolve_relative(&self, path: &[String]) -> Option<ModulePath> {
        self.absolute(path).or_else(|| {
            let own = self.is_root_of_folder && !path.is_empty();
            own.then(|| self.module.iter().chain(path).cloned().collect())
        })
    }
}

impl<'a> Visit<'a> for Imports {
    fn visit_item(&mut self, item: &'a Item) {
        let attributes = match item {
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            Item::Mod(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            Item::Struct(item) => &item.attrs,
            Item::Macro(item) => &item.attrs,
            _ => return visit::visit_item(self, item),
        };
        if !is_for_tests(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'a ItemMod) {
        if item.content.is_some() {
            self.inner.push(item.ident.to_string());
            visit::visit_item_mod(self, item);
            self.inner.pop();
        }
    }

    fn visit_item_use(&mut self, item: &'a ItemUse) {
        let is_export = !matches!(item.vis, Visibility::Inherited);
        self.add_use(&item.tree, &mut Vec::new(), is_export);
    }

    fn visit_path(&mut self, path: &'a syn::Path) {
        let parts: Vec<String> = path
            .segments
            .iter()
            .map(|part| part.ident.to_string())
            .collect();
        if let Some(path) = self.absolute(&parts) {
            self.used.insert(path);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'a syn::Macro) {
        self.add_tokens(call.tokens.clone());
        visit::visit_macro(self, call);
    }
}

/// Which file imports which.
fn graph(sources: &[(String, String)]) -> BTreeMap<String, BTreeSet<String>> {
    let mut files: BTreeMap<ModulePath, (&str, Imports)> = BTreeMap::new();
    for (path, source) in sources {
        let mut imports = Imports {
            module: module_of(path),
            is_root_of_folder: path.ends_with("/mod.rs") || path.ends_with("lib.rs"),
            ..Imports::default()
        };
        imports
            .visit_file(&syn::parse_file(source).unwrap_or_else(|error| panic!("{path}: {error}")));
        files.insert(imports.module.clone(), (path, imports));
    }
    let graph = files.values().map(|(path, imports)| {
        let targets = imports
            .used
            .iter()
            .filter_map(|used| target(&files, used, 0));
        let others = targets.filter(|target| target != path).map(str::to_owned);
        ((*path).to_owned(), others.collect())
    });
    graph.collect()
}

/// The file that an absolute path leads to.
fn target<'a>(
    files: &BTreeMap<ModulePath, (&'a str, Imports)>,
    path: &[String],
    depth: usize,
) -> Option<&'a str> {
    let (len, (file, imports)) = (0..=path.len())
        .rev()
        .find_map(|len| Some((len, files.get(path.get(..len)?)?)))?;
    let Some(name) = path.get(len) else {
        // The module itself: what is named by a later path counts then.
        return (!imports.is_root_of_folder).then_some(file);
    };
    if depth < 8
        && let Some(origin) = imports.exported.get(name)
    {
        return target(files, origin, depth + 1);
    }
    Some(file)
}

/// The groups of files that reach each other.
fn circles(graph: &BTreeMap<String, BTreeSet<String>>) -> Vec<Vec<String>> {
    let reach: BTreeMap<&str, BTreeSet<&str>> = graph
        .keys()
        .map(|start| {
            let (mut seen, mut next) = (BTreeSet::new(), vec![start.as_str()]);
            while let Some(file) = next.pop() {
                for target in graph.get(file).into_iter().flatten() {
                    if seen.insert(target.as_str()) {
                        next.push(target);
                    }
                }
            }
            (start.as_str(), seen)
        })
        .collect();
    let reaches = |from: &str, to: &str| reach.get(from).is_some_and(|seen| seen.contains(to));
    let mut groups = BTreeSet::new();
    for file in graph.keys().filter(|file| reaches(file, file)) {
        let group: Vec<String> = graph
            .keys()
            .filter(|other| reaches(file, other) && reaches(other, file))
            .cloned()
            .collect();
        groups.insert(group);
    }
    groups.into_iter().collect()
}

/// A circle in words, with the imports that make it.
fn describe(graph: &BTreeMap<String, BTreeSet<String>>, group: &[String]) -> String {
    let mut lines = vec![format!("a circle of {} files:", group.len())];
    for file in group {
        let targets = graph.get(file).into_iter().flatten();
        let inside: Vec<&str> = targets
            .filter(|target| group.contains(target))
            .map(String::as_str)
            .collect();
        lines.push(format!("  {file} imports {}", inside.join(", ")));
    }
    lines.join("\n")
}

#[test]
fn files_form_a_tree() {
    let sources = super::files(&["src"], &["rs"]);
    let sources: Vec<_> = sources
        .into_iter()
        .filter(|(path, _)| !super::is_test_code(path) || path.contains("/verify/"))
        .collect();
    assert!(sources.len() > 80, "only {} sources", sources.len());
    let graph = graph(&sources);
    let found: Vec<String> = circles(&graph)
        .iter()
        .map(|group| describe(&graph, group))
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_planted_circle_is_found() {
    let planted = |first: &str, second: &str| {
        let files = [
            (
                "src/queue/mod.rs",
                "mod ring; mod blocks; pub(crate) use blocks::Block;",
            ),
            ("src/queue/ring.rs", first),
            ("src/queue/blocks.rs", second),
        ];
        let files = files.map(|(path, text)| (path.to_owned(), text.to_owned()));
        circles(&graph(&files))
    };
    let circle = vec![vec![
        "src/queue/blocks.rs".to_owned(),
        "src/queue/ring.rs".to_owned(),
    ]];
    for (first, second) in [
        ("use super::blocks::Block;", "use super::ring::Ring;"),
        ("use super::Block;", "use crate::queue::{ring::{Ring}};"),
        ("fn f() { super::blocks::f() }", "use super::ring;"),
        ("use super::blocks;", "fn f() { m!(crate::queue::ring::X) }"),
    ] {
        assert_eq!(planted(first, second), circle, "{first} {second}");
    }
    for (first, second) in [
        ("use super::blocks::Block;", "use std::fmt;"),
        (
            "use super::Block;",
            "#[cfg(test)] mod tests { use super::super::ring::Ring; }",
        ),
    ] {
        assert_eq!(
            planted(first, second),
            Vec::<Vec<String>>::new(),
            "{first} {second}"
        );
    }
}
