//! The arguments of a task's function.

use quote::format_ident;
use syn::spanned::Spanned;
use syn::{Error, FnArg, GenericArgument, Ident, Pat, PathArguments, Result, Signature, Type};

/// An argument that travels to the worker.
pub(crate) struct Argument {
    pub(crate) name: Ident,
    pub(crate) kind: Type,
}

/// What a function takes.
pub(crate) struct Arguments {
    /// Whether the first argument is the `&Context`.
    pub(crate) takes_context: bool,
    /// The type of the state of the worker that it takes, as `&mut`, after that.
    pub(crate) state: Option<Type>,
    pub(crate) sent: Vec<Argument>,
}

impl Arguments {
    pub(crate) fn of(signature: &Signature) -> Result<Self> {
        let mut found = Self {
            takes_context: false,
            state: None,
            sent: Vec::new(),
        };
        for (number, argument) in signature.inputs.iter().enumerate() {
            let FnArg::Typed(argument) = argument else {
                return Err(Error::new(
                    argument.span(),
                    "a task is a function without `self`: make `self` an argument with a name",
                ));
            };
            if number == 0 && is_context(&argument.ty) {
                found.takes_context = true;
                continue;
            }
            if number == usize::from(found.takes_context)
                && let Some(state) = state_of(&argument.ty)
            {
                found.state = Some(state);
                continue;
            }
            check_owned(&argument.ty)?;
            let name = match &*argument.pat {
                Pat::Ident(pattern) => pattern.ident.clone(),
                _ => format_ident!("argument_{number}"),
            };
            found.sent.push(Argument {
                name,
                kind: (*argument.ty).clone(),
            });
        }
        Ok(found)
    }
}

/// Returns whether a type is a reference to something called `Context`.
fn is_context(kind: &Type) -> bool {
    let Type::Reference(reference) = kind else {
        return false;
    };
    match &*reference.elem {
        Type::Path(path) => {
            let last = path.path.segments.last();
            last.is_some_and(|last| last.ident == "Context" && last.arguments.is_empty())
        }
        _ => false,
    }
}

/// Returns the type of state that a `&mut` lends.
fn state_of(kind: &Type) -> Option<Type> {
    match kind {
        Type::Reference(reference) if reference.mutability.is_some() => {
            Some((*reference.elem).clone())
        }
        _ => None,
    }
}

/// Fails if a type borrows, or is not a type that could be sent.
fn check_owned(kind: &Type) -> Result<()> {
    match kind {
        Type::Reference(_) => Err(Error::new(
            kind.span(),
            "the arguments of a task are sent to another process, so they are owned: take `String` instead of `&str`, \
             `Vec<T>` instead of `&[T]`; only a first argument of the type `&Context`, and a state of the worker as `&mut` \
             after that, are given to the task there",
        )),
        Type::ImplTrait(_) => Err(Error::new(
            kind.span(),
            "the arguments of a task have types with a name: the worker must know what to decode",
        )),
        Type::Path(path) => {
            for segment in &path.path.segments {
                if let PathArguments::AngleBracketed(arguments) = &segment.arguments {
                    for argument in &arguments.args {
                        if let GenericArgument::Type(inner) = argument {
                            check_owned(inner)?;
                        }
                    }
                }
            }
            Ok(())
        }
        Type::Tuple(tuple) => tuple.elems.iter().try_for_each(check_owned),
        Type::Array(array) => check_owned(&array.elem),
        _ => Ok(()),
    }
}
