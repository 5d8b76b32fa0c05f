//! The lines that lead to the items of a tree.

/// What stands in front of an item, and of the lines below it.
#[derive(Clone, Debug, Default)]
pub struct Bars {
    /// In front of its first line.
    pub before: String,
    /// In front of all that is below.
    pub below: String,
}

impl Bars {
    /// Those of an item below this one.
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
