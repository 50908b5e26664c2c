//! The expansion: the function stays as it is. Next to it come a type of the same name, with the arguments as fields, and
//! what makes it a registered task.

use crate::arguments::{Argument, Arguments};
use crate::options::Options;
use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Error, ItemFn, Path, Result, ReturnType, Safety, Signature, Type, parse_quote};

pub(crate) fn expand(options: &Options, function: &ItemFn) -> Result<TokenStream> {
    check(&function.sig)?;
    let arguments = Arguments::of(&function.sig)?;
    let workring: Path = match &options.workring {
        Some(path) => path.clone(),
        None => parse_quote!(::workring),
    };
    let definition = definition(&workring, function, &arguments.sent);
    let implementation = implementation(&workring, options, &function.sig, &arguments);
    let name = &function.sig.ident;
    let text = options.name.as_ref().map(|text| quote!(as #text));
    let register = quote!(#workring::register!(#name #text););
    Ok(quote! {
        #[allow(clippy::needless_pass_by_value, reason = "a task owns its arguments")]
        #function
        #definition
        #implementation
        #register
    })
}

/// Fails for functions that cannot be tasks.
fn check(signature: &Signature) -> Result<()> {
    let refused = |at: &dyn Spanned, what| Err(Error::new(at.span(), what));
    if let Some(asyncness) = &signature.asyncness {
        return refused(
            asyncness,
            "a task is not async: its worker runs nothing else meanwhile; block on the future",
        );
    }
    if let Safety::Unsafe(unsafety) = &signature.safety {
        return refused(
            unsafety,
            "a task is safe to call: put the unsafe code into a block inside",
        );
    }
    if !signature.generics.params.is_empty() {
        return refused(
            &signature.generics,
            "a task has no generic parameters: a worker finds it by its name; make a function for each type",
        );
    }
    if let Some(variadic) = &signature.variadic {
        return refused(
            variadic,
            "a task has a fixed number of arguments: take a `Vec`",
        );
    }
    Ok(())
}

/// The type with the arguments as fields, and `new`.
fn definition(workring: &Path, function: &ItemFn, sent: &[Argument]) -> TokenStream {
    let (visibility, name) = (&function.vis, &function.sig.ident);
    let names: Vec<_> = sent.iter().map(|argument| &argument.name).collect();
    let kinds: Vec<_> = sent.iter().map(|argument| &argument.kind).collect();
    let docs: Vec<_> = {
        let is_doc = |attribute: &&syn::Attribute| attribute.path().is_ident("doc");
        function.attrs.iter().filter(is_doc).collect()
    };
    let summary = format!("The task that calls the function [`{name}`](fn@{name}).");
    let serde = quote!(#workring::__private::serde);
    let serde_path = quote!(#serde).to_string();
    quote! {
        #[doc = #summary]
        ///
        #(#docs)*
        #[allow(non_camel_case_types, reason = "it has the name of its function")]
        #[derive(#serde::Serialize, #serde::Deserialize)]
        #[serde(crate = #serde_path)]
        #visibility struct #name { #(#names: #kinds),* }

        #[allow(clippy::too_many_arguments, reason = "as many as the function has")]
        impl #name {
            /// Makes the task, which a pool runs in one of its workers.
            #[must_use]
            #visibility const fn new(#(#names: #kinds),*) -> Self {
                Self { #(#names),* }
            }
        }
    }
}

/// The implementation of `Task`.
fn implementation(
    workring: &Path,
    options: &Options,
    signature: &Signature,
    arguments: &Arguments,
) -> TokenStream {
    let name = &signature.ident;
    let names = arguments.sent.iter().map(|argument| &argument.name);
    let names: Vec<_> = names.collect();
    let values: Vec<_> = (0..names.len())
        .map(|n| format_ident!("__argument_{n}"))
        .collect();
    let context = arguments.takes_context.then(|| quote!(__context,));
    let call = match &arguments.state {
        None => quote!(#name(#context #(#values),*)),
        Some(state) => quote! {
            __context.with_state(|__state: &mut #state| #name(#context __state, #(#values),*))
        },
    };
    let build_states = arguments.state.as_ref().map(|state| {
        quote! {
            fn build_states(states: &mut #workring::pool::States) -> ::core::result::Result<
                (),
                ::std::boxed::Box<dyn ::std::error::Error + ::core::marker::Send + ::core::marker::Sync>,
            > {
                states.build::<#state>()
            }
        }
    });
    let failure: Type = parse_quote!(#workring::Failure);
    let error = options.error.as_ref().unwrap_or(&failure);
    let (output, result) = match &signature.output {
        ReturnType::Type(_, kind) if is_result(kind) => {
            let output = quote!(<#kind as #workring::__private::TaskResult>::Output);
            let convert = if options.error.is_some() {
                quote_spanned!(kind.span()=> ::core::convert::From::from(error))
            } else {
                quote_spanned!(kind.span()=> (&&&&&#workring::__private::Returned::new(error)).to_failure())
            };
            let result = quote! {
                match #call {
                    ::core::result::Result::Ok(output) => ::core::result::Result::Ok(output),
                    ::core::result::Result::Err(error) => ::core::result::Result::Err(#convert),
                }
            };
            (output, result)
        }
        ReturnType::Type(_, kind) => (quote!(#kind), quote!(::core::result::Result::Ok(#call))),
        ReturnType::Default => (
            quote!(()),
            quote!({ #call; ::core::result::Result::Ok(()) }),
        ),
    };
    let time_limit = options.time_limit.as_ref().map(|limit| {
        quote! {
            fn time_limit(&self) -> ::core::option::Option<::core::time::Duration> {
                ::core::option::Option::Some(#limit)
            }
        }
    });
    let retries = options.retries.as_ref().map(|retries| {
        quote! {
            fn retries(&self) -> ::core::option::Option<u32> {
                ::core::option::Option::Some(#retries)
            }
        }
    });
    let schema = options
        .schema
        .as_ref()
        .map(|schema| quote!(const SCHEMA: u64 = #schema;));
    let prepare = options.prepare.as_ref().map(|prepare| {
        quote! {
            fn prepare_worker() -> ::core::result::Result<
                (),
                ::std::boxed::Box<dyn ::std::error::Error + ::core::marker::Send + ::core::marker::Sync>,
            > {
                #prepare()?;
                ::core::result::Result::Ok(())
            }
        }
    });
    let shape = shape(workring, arguments);
    quote! {
        impl #workring::Task for #name {
            type Output = #output;
            type Error = #error;
            #schema

            #shape

            fn run(
                self,
                __context: &#workring::Context,
            ) -> ::core::result::Result<Self::Output, Self::Error> {
                #[allow(unused_imports, reason = "which of them is used depends on the type of the error")]
                use #workring::__private::{ViaDebug as _, ViaDisplay as _, ViaError as _, ViaFailure as _, ViaBox as _};
                let _ = __context;
                let Self { #(#names: #values),* } = self;
                #result
            }

            #time_limit
            #retries

            #prepare
            #build_states
        }
    }
}

/// What a worker compares with its own: the names and types of the arguments.
fn shape(workring: &Path, arguments: &Arguments) -> TokenStream {
    let kinds = arguments.sent.iter().map(|argument| &argument.kind);
    let names = arguments
        .sent
        .iter()
        .map(|argument| argument.name.to_string());
    quote! {
        fn __shape() -> ::std::string::String {
            #workring::__private::arguments(&[
                #((#names, #workring::__private::shape::<#kinds>())),*
            ])
        }
    }
}

/// Returns whether a type is called `Result`, with whatever path before and parameters after it.
fn is_result(kind: &Type) -> bool {
    match kind {
        Type::Path(path) => path
            .path
            .segments
            .last()
            .is_some_and(|last| last.ident == "Result"),
        _ => false,
    }
}
