//! The figures of a process that every list and report has, as JSON.

use serde::Serialize;

use crate::proc::Figures;

#[derive(Debug, Serialize)]
pub(super) struct FiguresPart<'a> {
    #[serde(flatten)]
    pub(super) figures: &'a Figures,
    cpu_share: f64,
}

impl<'a> FiguresPart<'a> {
    pub(super) fn of(figures: &'a Figures) -> Self {
        Self {
            figures,
            cpu_share: figures.cpu_share(),
        }
    }
}
