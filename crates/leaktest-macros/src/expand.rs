//! Turns a function with the attribute into a test of tokio's or the compiler's.

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::{
    Error, Expr, ExprLit, ItemFn, Lit, LitBool, LitInt, LitStr, Meta, MetaNameValue, Result,
    ReturnType, Token, Type, parse::Parser, punctuated::Punctuated,
};

/// Returns the test that a function becomes.
///
/// # Errors
/// If an argument is not understood, or the function can't be a test.
pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let mut function: ItemFn = syn::parse2(item)?;
    let arguments = Arguments::parse(arguments)?;
    if let Some(input) = function.sig.inputs.first() {
        return Err(Error::new_spanned(input, "a test takes no arguments"));
    }
    let attributes = std::mem::take(&mut function.attrs);
    let visibility = &function.vis;
    let signature = &function.sig;
    let name = &signature.ident;
    let check = arguments.check(signature.asyncness.is_some());
    let is_passed = match returns_result(&signature.output) {
        true => quote!(::core::result::Result::is_ok),
        false => quote!(|_| true),
    };
    let (test, call) = if signature.asyncness.is_some() {
        let passed_on = &arguments.passed_on;
        (
            quote!(#[::tokio::test(#(#passed_on),*)]),
            quote!(#check.attribute_scope(#name(), #is_passed).await),
        )
    } else {
        if let Some(argument) = arguments.passed_on.first() {
            return Err(Error::new_spanned(
                argument,
                "this is for the runtime of an async test; this test is not async",
            ));
        }
        (
            quote!(#[::core::prelude::v1::test]),
            quote!(#check.attribute_run(#name, #is_passed)),
        )
    };
    Ok(quote! {
        #test
        #(#attributes)*
        #visibility #signature {
            #function
            #call
        }
    })
}

/// Whether a test can fail by what it returns. An alias with another name is not recognized.
fn returns_result(output: &ReturnType) -> bool {
    let ReturnType::Type(_, output) = output else {
        return false;
    };
    let Type::Path(path) = &**output else {
        return false;
    };
    let last = path.path.segments.last();
    last.is_some_and(|segment| segment.ident == "Result")
}

/// The arguments of the attribute.
#[derive(Default)]
struct Arguments {
    /// Calls on the builder.
    options: Vec<TokenStream>,
    tokio_alive: Option<LitBool>,
    /// Arguments of `#[tokio::test]`.
    passed_on: Vec<Meta>,
}

impl Arguments {
    fn parse(arguments: TokenStream) -> Result<Self> {
        let mut parsed = Self::default();
        for meta in Punctuated::<Meta, Token![,]>::parse_terminated.parse2(arguments)? {
            parsed.add(meta)?;
        }
        Ok(parsed)
    }

    fn add(&mut self, meta: Meta) -> Result<()> {
        let name = meta.path().get_ident().map(ToString::to_string);
        let option = match name.as_deref().unwrap_or_default() {
            "timeout" => {
                let millis = milliseconds(&text(&meta)?)?;
                quote!(timeout(::core::time::Duration::from_millis(#millis)))
            }
            "ignore_name" => {
                let name = text(&meta)?;
                quote!(ignore_name(#name))
            }
            "ignore_function" => {
                let function = text(&meta)?;
                quote!(ignore_function(#function))
            }
            "ignore_site" => {
                let site = text(&meta)?;
                quote!(ignore_site(#site))
            }
            "threads" => {
                let check = truth(&meta)?;
                quote!(threads(#check))
            }
            "tokio_alive" => {
                self.tokio_alive = Some(truth(&meta)?);
                return Ok(());
            }
            _ => {
                self.passed_on.push(meta);
                return Ok(());
            }
        };
        self.options.push(option);
        Ok(())
    }

    /// Returns the check, not yet begun.
    fn check(&self, is_async: bool) -> TokenStream {
        let options = &self.options;
        let alive = self
            .tokio_alive
            .clone()
            .unwrap_or_else(|| LitBool::new(is_async, Span::call_site()));
        quote! {
            ::rtops_leaktest::Check::new()
                #(.#options)*
                .tokio_alive(#alive)
        }
    }
}

fn literal(meta: &Meta) -> Result<&Lit> {
    match meta {
        Meta::NameValue(MetaNameValue {
            value: Expr::Lit(ExprLit { lit, .. }),
            ..
        }) => Ok(lit),
        _ => Err(Error::new_spanned(meta, "write it as `name = value`")),
    }
}

fn text(meta: &Meta) -> Result<LitStr> {
    match literal(meta)? {
        Lit::Str(text) => Ok(text.clone()),
        other => Err(Error::new_spanned(other, "a text in quotes is wanted here")),
    }
}

fn truth(meta: &Meta) -> Result<LitBool> {
    match literal(meta)? {
        Lit::Bool(truth) => Ok(truth.clone()),
        other => Err(Error::new_spanned(
            other,
            "`true` or `false` is wanted here",
        )),
    }
}

/// Parses `500ms`, `2s` or `1m`.
fn milliseconds(text: &LitStr) -> Result<LitInt> {
    let value = text.value();
    let unit = value.trim_start_matches(|c: char| c.is_ascii_digit());
    let number = value.strip_suffix(unit).and_then(|n| n.parse::<u64>().ok());
    let factor = match unit {
        "ms" => Some(1),
        "s" => Some(1_000),
        "m" => Some(60_000),
        _ => None,
    };
    let millis = number.zip(factor).and_then(|(n, f)| n.checked_mul(f));
    let millis = millis.ok_or_else(|| {
        Error::new_spanned(text, "a time is a number with ms, s or m, as \"500ms\"")
    })?;
    Ok(LitInt::new(&millis.to_string(), text.span()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_told_in_one_sentence() {
        let plain = quote!(
            fn t() {}
        );
        let asynchronous = quote!(
            async fn t() {}
        );
        let time = "a time is a number with ms, s or m, as \"500ms\"";
        for (arguments, function, message) in [
            (quote!(timeout = "2x"), &plain, time),
            (quote!(timeout = "s"), &plain, time),
            (quote!(timeout = "10"), &plain, time),
            (quote!(timeout = "99999999999999999999s"), &plain, time),
            (
                quote!(timeout = 7),
                &plain,
                "a text in quotes is wanted here",
            ),
            (quote!(ignore_name), &plain, "write it as `name = value`"),
            (
                quote!(threads = "yes"),
                &plain,
                "`true` or `false` is wanted here",
            ),
            (
                quote!(flavor = "multi_thread"),
                &plain,
                "this is for the runtime of an async test; this test is not async",
            ),
            (
                quote!(),
                &quote!(
                    async fn t(x: u8) {}
                ),
                "a test takes no arguments",
            ),
        ] {
            let error = expand(arguments, function.clone())
                .map_or_else(|error| error.to_string(), |expanded| panic!("{expanded}"));
            assert_eq!(error, message);
        }
        assert!(expand(quote!(), asynchronous).is_ok());
    }

    #[test]
    fn what_is_not_an_option_of_the_check_is_for_tokio() {
        let arguments = quote!(
            flavor = "current_thread",
            timeout = "2s",
            start_paused = true
        );
        let parsed = Arguments::parse(arguments).unwrap_or_default();
        let passed_on = parsed
            .passed_on
            .iter()
            .map(|meta| quote!(#meta).to_string());
        assert_eq!(
            passed_on.collect::<Vec<_>>(),
            ["flavor = \"current_thread\"", "start_paused = true"]
        );
        let options = parsed.options.iter().map(ToString::to_string);
        assert_eq!(
            options.collect::<Vec<_>>(),
            ["timeout (:: core :: time :: Duration :: from_millis (2000))"]
        );
    }
}
