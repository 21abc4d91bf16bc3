//! A bounded map from hashes to values that forgets what was not used for longest.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Number that stands for no node.
const NONE: u32 = u32::MAX;

/// Passes a key on that is a hash itself.
#[derive(Debug, Default, Clone, Copy)]
pub struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = mix(self.0 ^ u64::from(*byte));
        }
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = mix(key);
    }
}

/// Returns a number whose every bit depends on every bit of `x` (the finaliser of SplitMix64).
pub fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[derive(Debug, Clone)]
struct Node<V> {
    key: u64,
    value: V,
    newer: u32,
    older: u32,
}

/// A map of at most `capacity` entries.
#[derive(Debug, Clone)]
pub struct Lru<V> {
    index: HashMap<u64, u32, BuildHasherDefault<KeyHasher>>,
    nodes: Vec<Node<V>>,
    newest: u32,
    oldest: u32,
    free: u32,
    capacity: usize,
}

impl<V: Copy> Lru<V> {
    /// Creates an empty map.
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.clamp(1, NONE as usize);
        Self { index: HashMap::default(), nodes: Vec::new(), newest: NONE, oldest: NONE, free: NONE, capacity }
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// True if there are no entries.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Returns the value of a key, which becomes the newest.
    pub fn get_mut(&mut self, key: u64) -> Option<&mut V> {
        let at = *self.index.get(&key)?;
        if self.newest != at {
            self.unlink(at);
            self.link(at);
        }
        Some(&mut self.nodes[at as usize].value)
    }

    /// Returns the entry that was not used for longest.
    pub fn oldest(&self) -> Option<(u64, V)> {
        let node = self.nodes.get(self.oldest as usize)?;
        Some((node.key, node.value))
    }

    /// Sets the value of a key, which becomes the newest. Returns the value that it replaces or drives out.
    pub fn insert(&mut self, key: u64, value: V) -> Option<V> {
        if let Some(known) = self.get_mut(key) {
            return Some(std::mem::replace(known, value));
        }
        let mut driven_out = None;
        if self.index.len() == self.capacity {
            driven_out = self.oldest().and_then(|(oldest, _)| self.remove(oldest));
        }
        let node = Node { key, value, newer: NONE, older: NONE };
        let at = match self.free {
            NONE => {
                self.nodes.push(node);
                (self.nodes.len() - 1) as u32
            }
            at => {
                self.free = self.nodes[at as usize].older;
                self.nodes[at as usize] = node;
                at
            }
        };
        self.index.insert(key, at);
        self.link(at);
        driven_out
    }

    /// Removes a key and returns its value.
    pub fn remove(&mut self, key: u64) -> Option<V> {
        let at = self.index.remove(&key)?;
        self.unlink(at);
        self.nodes[at as usize].older = self.free;
        self.free = at;
        Some(self.nodes[at as usize].value)
    }

    fn unlink(&mut self, at: u32) {
        let Node { newer, older, .. } = self.nodes[at as usize];
        match self.nodes.get_mut(newer as usize) {
            Some(node) => node.older = older,
            None => self.newest = older,
        }
        match self.nodes.get_mut(older as usize) {
            Some(node) => node.newer = newer,
            None => self.oldest = newer,
        }
    }

    fn link(&mut self, at: u32) {
        let older = std::mem::replace(&mut self.newest, at);
        let node = &mut self.nodes[at as usize];
        (node.newer, node.older) = (NONE, older);
        match self.nodes.get_mut(older as usize) {
            Some(node) => node.newer = at,
            None => self.oldest = at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same operations on a list, newest last.
    #[test]
    fn it_forgets_what_was_not_used_for_longest() {
        let mut random = fastrand::Rng::with_seed(7);
        let (mut lru, mut list) = (Lru::new(5), Vec::<(u64, u32)>::new());
        for round in 0..20_000u32 {
            let key = random.u64(..9);
            let known = list.iter().position(|(known, _)| *known == key);
            match random.u32(..3) {
                0 => {
                    let value = lru.get_mut(key).copied();
                    assert_eq!(value, known.map(|at| list[at].1));
                    if let Some(at) = known {
                        let entry = list.remove(at);
                        list.push(entry);
                    }
                }
                1 => {
                    let replaced = lru.insert(key, round);
                    let expected = match known {
                        Some(at) => Some(list.remove(at).1),
                        None if list.len() == 5 => Some(list.remove(0).1),
                        None => None,
                    };
                    list.push((key, round));
                    assert_eq!(replaced, expected);
                }
                _ => assert_eq!(lru.remove(key), known.map(|at| list.remove(at).1)),
            }
            assert_eq!((lru.len(), lru.oldest()), (list.len(), list.first().copied()));
        }
        assert!(lru.nodes.len() <= 5);
    }
}
