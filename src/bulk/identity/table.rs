//! A set of hashes that takes little more than their own bytes.

/// Number of parts, each of which grows by itself, so that not all of it is there twice while it grows.
const PARTS: usize = 256;

/// Hashes, each with a small value if the table has values.
///
/// Open addressing with linear probing. It grows by a quarter at four fifths, so that it has 10 to 12.5 bytes for a hash of 8
/// and at most 18.8 with its value; the standard library's would have 10 to 21, and 19 to 39.
#[derive(Debug)]
pub(super) struct Table {
    parts: Box<[Part]>,
    has_values: bool,
}

#[derive(Debug, Default, Clone)]
struct Part {
    /// The hashes; 0 is an empty place.
    hashes: Box<[u64]>,
    /// The values of the hashes at the same places; empty if the table has none.
    values: Box<[u32]>,
    count: usize,
}

impl Table {
    pub fn new(has_values: bool) -> Self {
        Self { parts: Box::default(), has_values }
    }

    /// Returns the value of a hash that is in the table; 0 if the table has no values.
    pub fn get(&self, hash: u64) -> Option<u32> {
        let part = self.parts.get(part_of(hash))?;
        let place = part.place(hash)?;
        (part.hashes[place] != 0).then(|| part.values.get(place).copied().unwrap_or(0))
    }

    /// Adds a hash that is not in the table.
    pub fn insert(&mut self, hash: u64, value: u32) {
        if self.parts.is_empty() {
            self.parts = vec![Part::default(); PARTS].into();
        }
        let part = &mut self.parts[part_of(hash)];
        if (part.count + 1) * 5 > part.hashes.len() * 4 {
            part.grow(self.has_values);
        }
        part.put(hash, value);
        part.count += 1;
    }

    /// Returns the number of bytes that the table takes.
    pub fn size(&self) -> usize {
        let of_part = |part: &Part| part.hashes.len() * 8 + part.values.len() * 4 + size_of::<Part>();
        self.parts.iter().map(of_part).sum()
    }
}

fn part_of(hash: u64) -> usize {
    (hash % PARTS as u64) as usize
}

impl Part {
    /// Returns the place of a hash, or the one where it would be put; `None` if there is no place at all.
    fn place(&self, hash: u64) -> Option<usize> {
        let length = self.hashes.len();
        // The upper bits choose the place, the lower ones the part. A multiplication maps them to any number of places.
        let mut place = ((u128::from(hash) * length as u128) >> 64) as usize;
        while let Some(&found) = self.hashes.get(place) {
            if found == 0 || found == hash.max(1) {
                return Some(place);
            }
            place = if place + 1 == length { 0 } else { place + 1 };
        }
        None
    }

    fn put(&mut self, hash: u64, value: u32) {
        let place = self.place(hash).expect("it has grown");
        self.hashes[place] = hash.max(1);
        if let Some(known) = self.values.get_mut(place) {
            *known = value;
        }
    }

    fn grow(&mut self, has_values: bool) {
        let length = (self.hashes.len() + self.hashes.len() / 4).max(8);
        let values = if has_values { vec![0; length].into() } else { Box::default() };
        let grown = Self { hashes: vec![0; length].into(), values, count: self.count };
        let old = std::mem::replace(self, grown);
        for (place, hash) in old.hashes.iter().enumerate().filter(|(_, hash)| **hash != 0) {
            self.put(*hash, old.values.get(place).copied().unwrap_or(0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_found_with_their_values_in_little_memory() {
        let mut random = fastrand::Rng::with_seed(7);
        let hashes: Vec<u64> = (0..100_000).map(|_| random.u64(..)).collect();
        for (has_values, most) in [(false, 12.6), (true, 18.9)] {
            let mut table = Table::new(has_values);
            assert_eq!(table.get(hashes[0]), None);
            for (index, hash) in hashes.iter().enumerate() {
                assert_eq!(table.get(*hash), None);
                table.insert(*hash, index as u32);
                if index >= 50_000 && index % 1000 == 0 {
                    // Of which the parts themselves are 0.2 to 0.3 bytes here.
                    let bytes = table.size() as f64 / (index + 1) as f64;
                    assert!(bytes < most + 0.4, "{bytes} bytes a hash at {index}");
                }
            }
            for (index, hash) in hashes.iter().enumerate() {
                assert_eq!(table.get(*hash), Some(if has_values { index as u32 } else { 0 }));
            }
        }
        // The smallest and the largest hash have places too.
        let mut table = Table::new(true);
        for hash in [0, u64::MAX, 256, u64::MAX - 256] {
            assert_eq!(table.get(hash), None, "{hash}");
            table.insert(hash, 5);
            assert_eq!(table.get(hash), Some(5), "{hash}");
        }
    }
}
