//! Parses the floating-point and vector registers in the kernel's formats, from a core or by
//! ptrace: `NT_FPREGSET` has the layout of `fxsave64`, `NT_X86_XSTATE` that of `xsave64`.

use std::ops::Range;

use crate::{
    Avx512, Vectors, X87,
    notes::{u16_at, u32_at, u64_at},
};

/// The size of the part that `fxsave64` writes.
pub(crate) const LEGACY_SIZE: usize = 512;

/// A component after the legacy part. Its value is its number, which is
/// also the number of its bit in `xstate_bv`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum XstateComponent {
    /// The upper halves of `ymm0` to `ymm15`.
    Avx = 2,
    /// `k0` to `k7`.
    Masks = 5,
    /// The upper halves of `zmm0` to `zmm15`.
    Upper = 6,
    /// `zmm16` to `zmm31`.
    More = 7,
}

impl XstateComponent {
    const ALL: [Self; 4] = [Self::Avx, Self::Masks, Self::Upper, Self::More];

    const fn size(self) -> usize {
        match self {
            Self::Avx => 256,
            Self::Masks => 64,
            Self::Upper => 512,
            Self::More => 1024,
        }
    }
}

/// The offsets of the components, indexed by number. The default is for
/// a state of which only the size is known.
#[derive(Clone, Copy, Debug, Default)]
pub struct XstateLayout {
    /// The offsets that the kernel states; if absent, they follow from the size.
    stated: Option<[usize; 8]>,
}

impl XstateLayout {
    /// Parses `NT_X86_XSAVE_LAYOUT`: type, size, offset, and flags of each component.
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let mut stated = [0; 8];
        for entry in bytes.chunks_exact(16) {
            let number = usize::try_from(u32_at(entry, 0)).unwrap_or(usize::MAX);
            if let Some(place) = stated.get_mut(number) {
                *place = usize::try_from(u32_at(entry, 8)).unwrap_or(0);
            }
        }
        Self {
            stated: Some(stated),
        }
    }

    /// Returns the layout of this processor, which the kernel uses for processes that run on it.
    #[cfg(target_arch = "x86_64")]
    #[must_use]
    pub fn native() -> Self {
        const COMPONENTS: u32 = 0xd;
        let mut stated = [0; 8];
        // On older processors, the layout follows from the size, which
        // then shows that there is nothing.
        if std::arch::x86_64::__cpuid(0).eax < COMPONENTS {
            return Self::default();
        }
        for component in XstateComponent::ALL {
            let leaf = std::arch::x86_64::__cpuid_count(COMPONENTS, component as u32);
            let place = stated.get_mut(component as usize);
            if let (Some(place), Ok(start)) = (place, usize::try_from(leaf.ebx)) {
                *place = start;
            }
        }
        Self {
            stated: Some(stated),
        }
    }

    /// Returns the range of a component in a state of this size, if the state has it.
    ///
    /// Intel reserves space for MPX, AMD does not: only the total size tells them apart.
    #[must_use]
    pub fn range(&self, component: XstateComponent, size: usize) -> Option<Range<usize>> {
        const INTEL: [usize; 8] = [0, 0, 576, 960, 1024, 1088, 1152, 1664];
        const AMD: [usize; 8] = [0, 0, 576, 0, 0, 832, 896, 1408];
        let places = match self.stated {
            Some(stated) => stated,
            None if size >= 2688 => INTEL,
            None if size >= 2432 => AMD,
            None if component == XstateComponent::Avx => INTEL,
            None => return None,
        };
        let start = *places.get(component as usize)?;
        let end = start.checked_add(component.size())?;
        (start >= LEGACY_SIZE + 64 && end <= size).then_some(start..end)
    }
}

impl Vectors {
    /// Reads the registers from an `xsave64` state; missing components have their initial values.
    /// `None` if the state is cut short.
    #[must_use]
    pub fn from_xstate(state: &[u8], layout: &XstateLayout) -> Option<Box<Self>> {
        if state.len() < LEGACY_SIZE {
            return None;
        }
        let mut vectors = legacy(state);
        let in_use = u64_at(state, LEGACY_SIZE);
        let part = |component: XstateComponent| {
            let bytes = state.get(layout.range(component, state.len())?)?;
            // A component that is not in use has its initial value, whatever bytes are there.
            Some((in_use >> component as u32 & 1 == 1).then_some(bytes))
        };
        if let Some(Some(upper)) = part(XstateComponent::Avx) {
            for (register, bytes) in vectors.ymm.iter_mut().zip(upper.chunks_exact(16)) {
                register[16..].copy_from_slice(bytes);
            }
        }
        let [masks, upper, more] = [
            XstateComponent::Masks,
            XstateComponent::Upper,
            XstateComponent::More,
        ]
        .map(part);
        if let (Some(masks), Some(upper), Some(more)) = (masks, upper, more) {
            let mut avx512 = Avx512 {
                masks: [0; 8],
                upper: [[0; 32]; 16],
                more: [[0; 64]; 16],
            };
            for (index, mask) in avx512.masks.iter_mut().enumerate() {
                *mask = masks.map_or(0, |bytes| u64_at(bytes, 8 * index));
            }
            copy(&mut avx512.upper, upper);
            copy(&mut avx512.more, more);
            vectors.avx512 = Some(Box::new(avx512));
        }
        Some(Box::new(vectors))
    }
}

fn copy<const N: usize>(registers: &mut [[u8; N]; 16], bytes: Option<&[u8]>) {
    for (register, bytes) in registers
        .iter_mut()
        .zip(bytes.unwrap_or_default().chunks_exact(N))
    {
        register.copy_from_slice(bytes);
    }
}

fn legacy(state: &[u8]) -> Vectors {
    const ST: usize = 32;
    const XMM: usize = 160;
    let mut vectors = Vectors {
        mxcsr: u32_at(state, 24),
        x87: X87 {
            control: u16_at(state, 0),
            status: u16_at(state, 2),
            tags: state.get(4).copied().unwrap_or_default(),
            st: [[0; 10]; 8],
        },
        ymm: [[0; 32]; 16],
        avx512: None,
    };
    let st = state.get(ST..XMM).unwrap_or_default().chunks_exact(16);
    for (register, bytes) in vectors.x87.st.iter_mut().zip(st) {
        if let Some(bytes) = bytes.first_chunk() {
            *register = *bytes;
        }
    }
    let xmm = state
        .get(XMM..XMM + 256)
        .unwrap_or_default()
        .chunks_exact(16);
    for (register, bytes) in vectors.ymm.iter_mut().zip(xmm) {
        register[..16].copy_from_slice(bytes);
    }
    vectors
}
