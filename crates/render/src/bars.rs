//! The lines that connect the items of a tree.

/// The prefixes of an item and of the lines below it.
#[derive(Clone, Debug, Default)]
pub struct Bars {
    /// The prefix of its first line.
    pub before: String,
    /// The prefix of everything below.
    pub below: String,
}

impl Bars {
    /// Returns the prefixes of a child of this item.
    #[must_use]
    pub fn child(&self, is_last: bool) -> Self {
        let (corner, bar) = match is_last {
            true => ("└─ ", "   "),
            false => ("├─ ", "│  "),
        };
        Self {
            before: format!("{}{corner}", self.below),
            below: format!("{}{bar}", self.below),
        }
    }
}
