//! The attribute `#[rtops_leaktest::test]`, which is documented in that crate.

mod expand;

use proc_macro2::TokenStream;
use quote::quote;

/// See `rtops_leaktest::test`.
#[proc_macro_attribute]
pub fn test(
    arguments: proc_macro::TokenStream,
    item: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    let item = TokenStream::from(item);
    match expand::expand(arguments.into(), item.clone()) {
        Ok(test) => test.into(),
        Err(error) => {
            // The function is kept, so that the compiler does not also complain that it is missing.
            let error = error.into_compile_error();
            quote!(#error #item).into()
        }
    }
}
