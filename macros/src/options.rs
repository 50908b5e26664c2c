//! The options in the parentheses of the attribute.

use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Error, Expr, Ident, LitStr, Path, Result, Token, Type};

/// What `#[task(..)]` says.
#[derive(Default)]
pub(crate) struct Options {
    /// The name under which the task is registered, if not its path.
    pub(crate) name: Option<LitStr>,
    /// The error of the task, if not `Failure`.
    pub(crate) error: Option<Type>,
    /// An expression of the type `Duration`.
    pub(crate) time_limit: Option<Expr>,
    /// An expression of the type `u32`.
    pub(crate) retries: Option<Expr>,
    /// An expression of the type `u64`.
    pub(crate) schema: Option<Expr>,
    /// A function that prepares a worker.
    pub(crate) prepare: Option<Path>,
    /// The path of the crate `workring`, if it has another name.
    pub(crate) workring: Option<Path>,
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut options = Self::default();
        for set in Punctuated::<SetOption, Token![,]>::parse_terminated(input)? {
            set.apply(&mut options)?;
        }
        Ok(options)
    }
}

/// One option: a name, `=`, and a value whose kind depends on the name.
struct SetOption {
    name: Ident,
    value: Value,
}

enum Value {
    Text(LitStr),
    Type(Type),
    Path(Path),
    Expr(Expr),
}

impl Parse for SetOption {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let name = input.call(<Ident as syn::ext::IdentExt>::parse_any)?;
        input.parse::<Token![=]>()?;
        let value = match name.to_string().as_str() {
            "name" => Value::Text(input.parse()?),
            "error" => Value::Type(input.parse()?),
            "crate" | "prepare" => Value::Path(input.parse()?),
            _ => Value::Expr(input.parse()?),
        };
        Ok(Self { name, value })
    }
}

impl SetOption {
    fn apply(self, options: &mut Options) -> Result<()> {
        let Self { name, value } = self;
        let is_new = match (name.to_string().as_str(), value) {
            ("name", Value::Text(text)) => options.name.replace(text).is_none(),
            ("error", Value::Type(error)) => options.error.replace(error).is_none(),
            ("crate", Value::Path(path)) => options.workring.replace(path).is_none(),
            ("prepare", Value::Path(path)) => options.prepare.replace(path).is_none(),
            ("time_limit", Value::Expr(limit)) => options.time_limit.replace(limit).is_none(),
            ("retries", Value::Expr(retries)) => options.retries.replace(retries).is_none(),
            ("schema", Value::Expr(schema)) => options.schema.replace(schema).is_none(),
            _ => {
                return Err(Error::new(
                    name.span(),
                    "there is no such option: write `name`, `error`, `time_limit`, `retries`, `schema`, `prepare` or `crate`",
                ));
            }
        };
        if is_new {
            return Ok(());
        }
        Err(Error::new(
            name.span(),
            "this option is set twice: remove one",
        ))
    }
}
