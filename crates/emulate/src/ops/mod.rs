//! The instructions, by group. The function `handler` of each group returns the function that runs
//! an instruction, or `None` if the instruction does not belong to the group.
//!
//! Handlers change nothing before the last memory access that can fail, so the registers are
//! correct after a fault.

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

/// Selects the instance of `function` that has the size of the operation as
/// its first const parameter.
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

/// Selects the instance of `function` that has the number of a condition as
/// its first const parameter.
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
