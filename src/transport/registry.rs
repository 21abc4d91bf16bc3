//! A list of what is alive in one process.

use std::sync::{Arc, Weak};

/// Values of one process that are still in use. A forked child, which has a copy of the list, begins an empty one.
pub(super) struct Registry<T> {
    process: u32,
    values: Vec<Weak<T>>,
}

impl<T> Registry<T> {
    /// Creates an empty list.
    pub const fn new() -> Self {
        Self { process: 0, values: Vec::new() }
    }

    /// Adds a value of this process.
    pub fn add(&mut self, process: u32, value: &Arc<T>) {
        self.enter(process);
        if self.values.len() == self.values.capacity() {
            self.values.retain(|value| value.strong_count() > 0);
            // As many are added before the next search for dead ones as this one has kept.
            self.values.reserve(self.values.len());
        }
        self.values.push(Arc::downgrade(value));
    }

    /// Returns the values of this process.
    pub fn alive(&mut self, process: u32) -> Vec<Arc<T>> {
        self.enter(process);
        self.values.iter().filter_map(Weak::upgrade).collect()
    }

    fn enter(&mut self, process: u32) {
        if self.process != process {
            self.process = process;
            self.values.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dead_values_are_forgotten() {
        let mut registry = Registry::new();
        let alive: Vec<_> = (0..100).map(Arc::new).collect();
        alive.iter().for_each(|value| registry.add(1, value));
        for _ in 0..10_000 {
            registry.add(1, &Arc::new(0));
            assert!(registry.values.len() <= 300, "{}", registry.values.len());
        }
        assert_eq!(registry.alive(1), alive);
    }

    #[test]
    fn a_child_has_none_of_its_parents() {
        let mut registry = Registry::new();
        let (of_parent, of_child) = (Arc::new(1), Arc::new(2));
        registry.add(1, &of_parent);
        assert!(registry.alive(2).is_empty());
        registry.add(2, &of_child);
        assert_eq!(registry.alive(2), [of_child]);
    }
}
