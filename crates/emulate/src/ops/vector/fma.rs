//! Fused multiplication and addition, rounded once.

use iced_x86::Mnemonic as M;

use super::{Entry, three};
use crate::{
    lane::{Element, build},
    number::Float,
};

// The order of the operands: the numbers of the factors, then that of the addend.
const F132: u8 = 0;
const F213: u8 = 1;
const F231: u8 = 2;

// The signs that change: of the product, and of the addend in even-numbered
// and odd-numbered elements.
const ADD: u8 = 0;
const NEGATE_PRODUCT: u8 = 1;
const SUB_EVEN: u8 = 2;
const SUB_ODD: u8 = 4;
const SUB: u8 = SUB_EVEN | SUB_ODD;

macro_rules! forms {
    ($mnemonic:expr; $($form:ident $packed32:ident $packed64:ident $scalar32:ident $scalar64:ident: $signs:expr;)*) => {
        match $mnemonic {
            $(
                M::$packed32 => three(4, fused::<f32, $form, { $signs }>),
                M::$packed64 => three(8, fused::<f64, $form, { $signs }>),
                M::$scalar32 => three(4, fused::<f32, $form, { $signs }>).map(Entry::scalar),
                M::$scalar64 => three(8, fused::<f64, $form, { $signs }>).map(Entry::scalar),
            )*
            _ => None,
        }
    };
}

macro_rules! alternating {
    ($mnemonic:expr; $($form:ident $packed32:ident $packed64:ident: $signs:expr;)*) => {
        match $mnemonic {
            $(
                M::$packed32 => three(4, fused::<f32, $form, { $signs }>),
                M::$packed64 => three(8, fused::<f64, $form, { $signs }>),
            )*
            _ => None,
        }
    };
}

pub(super) fn entry(mnemonic: M) -> Option<Entry> {
    let entry = forms! { mnemonic;
        F132 Vfmadd132ps Vfmadd132pd Vfmadd132ss Vfmadd132sd: ADD;
        F213 Vfmadd213ps Vfmadd213pd Vfmadd213ss Vfmadd213sd: ADD;
        F231 Vfmadd231ps Vfmadd231pd Vfmadd231ss Vfmadd231sd: ADD;
        F132 Vfmsub132ps Vfmsub132pd Vfmsub132ss Vfmsub132sd: SUB;
        F213 Vfmsub213ps Vfmsub213pd Vfmsub213ss Vfmsub213sd: SUB;
        F231 Vfmsub231ps Vfmsub231pd Vfmsub231ss Vfmsub231sd: SUB;
        F132 Vfnmadd132ps Vfnmadd132pd Vfnmadd132ss Vfnmadd132sd: NEGATE_PRODUCT;
        F213 Vfnmadd213ps Vfnmadd213pd Vfnmadd213ss Vfnmadd213sd: NEGATE_PRODUCT;
        F231 Vfnmadd231ps Vfnmadd231pd Vfnmadd231ss Vfnmadd231sd: NEGATE_PRODUCT;
        F132 Vfnmsub132ps Vfnmsub132pd Vfnmsub132ss Vfnmsub132sd: NEGATE_PRODUCT | SUB;
        F213 Vfnmsub213ps Vfnmsub213pd Vfnmsub213ss Vfnmsub213sd: NEGATE_PRODUCT | SUB;
        F231 Vfnmsub231ps Vfnmsub231pd Vfnmsub231ss Vfnmsub231sd: NEGATE_PRODUCT | SUB;
    };
    let alternating = || {
        alternating! { mnemonic;
            F132 Vfmaddsub132ps Vfmaddsub132pd: SUB_EVEN;
            F213 Vfmaddsub213ps Vfmaddsub213pd: SUB_EVEN;
            F231 Vfmaddsub231ps Vfmaddsub231pd: SUB_EVEN;
            F132 Vfmsubadd132ps Vfmsubadd132pd: SUB_ODD;
            F213 Vfmsubadd213ps Vfmsubadd213pd: SUB_ODD;
            F231 Vfmsubadd231ps Vfmsubadd231pd: SUB_ODD;
        }
    };
    entry.or_else(alternating).map(Entry::float)
}

fn fused<F: Element + Float, const ORDER: u8, const SIGNS: u8>(
    first: u128,
    second: u128,
    third: u128,
) -> u128 {
    let (first, second, third) = (F::split(first), F::split(second), F::split(third));
    let (first, second, third) = (first.as_ref(), second.as_ref(), third.as_ref());
    build(|n| {
        let (a, b, c) = match ORDER {
            F132 => (first[n], third[n], second[n]),
            F213 => (second[n], first[n], third[n]),
            _ => (second[n], third[n], first[n]),
        };
        let subtract = SIGNS & if n % 2 == 0 { SUB_EVEN } else { SUB_ODD } != 0;
        let x = if SIGNS & NEGATE_PRODUCT != 0 {
            a.negate()
        } else {
            a
        };
        let result = x.multiply_add(b, if subtract { c.negate() } else { c });
        if !result.is_nan() {
            result
        } else if let Some(nan) = [a, b, c].into_iter().find(|x| x.is_nan()) {
            nan.quiet()
        } else {
            F::DEFAULT_NAN
        }
    })
}
