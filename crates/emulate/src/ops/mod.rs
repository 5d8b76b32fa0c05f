//! What each instruction does, by group. A group has a function `handler`, which chooses who runs an
//! instruction, or says that it does not belong to the group.
//!
//! Handlers change nothing before the last access to memory that can fail, so that the registers are
//! right after a fault.

pub(crate) mod bits;
pub(crate) mod control;
pub(crate) mod integer;
pub(crate) mod mmx;
pub(crate) mod multiply;
pub(crate) mod shift;
pub(crate) mod string;
pub(crate) mod system;
pub(crate) mod vector;
pub(crate) mod x87;
pub(crate) mod xsave;

/// `function` with the size of the operation as its first const parameter.
macro_rules! by_size {
    ($bits:expr, $function:ident $(, $more:tt)*) => {
        match $bits {
            8 => $function::<8 $(, $more)*>,
            16 => $function::<16 $(, $more)*>,
            32 => $function::<32 $(, $more)*>,
            _ => $function::<64 $(, $more)*>,
        }
    };
}

/// `function` with the number of a condition as its first const parameter.
macro_rules! by_condition {
    ($condition:expr, $function:ident $(, $more:tt)*) => {
        match $condition & 15 {
            0 => $function::<0 $(, $more)*>,
            1 => $function::<1 $(, $more)*>,
            2 => $function::<2 $(, $more)*>,
            3 => $function::<3 $(, $more)*>,
            4 => $function::<4 $(, $more)*>,
            5 => $function::<5 $(, $more)*>,
            6 => $function::<6 $(, $more)*>,
            7 => $function::<7 $(, $more)*>,
            8 => $function::<8 $(, $more)*>,
            9 => $function::<9 $(, $more)*>,
            10 => $function::<10 $(, $more)*>,
            11 => $function::<11 $(, $more)*>,
            12 => $function::<12 $(, $more)*>,
            13 => $function::<13 $(, $more)*>,
            14 => $function::<14 $(, $more)*>,
            _ => $function::<15 $(, $more)*>,
        }
    };
}

pub(crate) use {by_condition, by_size};
