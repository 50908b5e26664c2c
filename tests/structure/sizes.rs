//! Files of at most 500 lines, functions of at most 60. A longer one says why in its own comment, which begins with
//! `Long because`; at most three files do.

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

const MOST_LINES: usize = 500;
const MOST_LINES_OF_A_FUNCTION: usize = 60;
const MOST_LONG_FILES: usize = 3;
const REASON: &str = "Long because";

/// The functions of a file that are too long and give no reason.
#[derive(Default)]
struct LongFunctions(Vec<String>);

impl LongFunctions {
    fn look(
        &mut self,
        attributes: &[syn::Attribute],
        signature: &syn::Signature,
        body: proc_macro2::Span,
    ) {
        let lines = body.end().line - signature.span().start().line + 1;
        let mut comments = attributes
            .iter()
            .map(|attribute| quote::ToTokens::to_token_stream(attribute).to_string());
        if lines > MOST_LINES_OF_A_FUNCTION && !comments.any(|comment| comment.contains(REASON)) {
            self.0
                .push(format!("`{}` has {lines} lines", signature.ident));
        }
    }
}

impl<'a> Visit<'a> for LongFunctions {
    fn visit_item_mod(&mut self, item: &'a syn::ItemMod) {
        if item.ident != "tests" {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_fn(&mut self, item: &'a syn::ItemFn) {
        self.look(&item.attrs, &item.sig, item.block.span());
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'a syn::ImplItemFn) {
        self.look(&item.attrs, &item.sig, item.block.span());
        visit::visit_impl_item_fn(self, item);
    }
}

/// What is too long in one file.
fn problems(path: &str, source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let lines = source.lines().count();
    if lines > MOST_LINES && !source.contains(REASON) {
        found.push(format!("{path}: {lines} lines"));
    }
    let mut functions = LongFunctions::default();
    functions
        .visit_file(&syn::parse_file(source).unwrap_or_else(|error| panic!("{path}: {error}")));
    found.extend(
        functions
            .0
            .into_iter()
            .map(|function| format!("{path}: {function}")),
    );
    found
}

#[test]
fn product_files_and_functions_are_short() {
    let mut files = super::files(&["src"], &["rs"]);
    files.retain(|(path, _)| !super::is_test_code(path));
    let found: Vec<String> = files
        .iter()
        .flat_map(|(path, source)| problems(path, source))
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
    let long = files
        .iter()
        .filter(|(_, source)| source.lines().count() > MOST_LINES);
    assert!(long.count() <= MOST_LONG_FILES, "too many long files");
}

#[test]
fn planted_long_code_is_found() {
    let body = "    g();\n".repeat(60);
    let function = format!("fn f() {{\n{body}}}\n");
    assert_eq!(
        problems("src/a.rs", &function),
        ["src/a.rs: `f` has 62 lines"]
    );
    assert_eq!(
        problems(
            "src/a.rs",
            &format!("/// Long because it is a table.\n{function}")
        ),
        [""; 0]
    );
    assert_eq!(
        problems("src/a.rs", &"// x\n".repeat(501)),
        ["src/a.rs: 501 lines"]
    );
}
