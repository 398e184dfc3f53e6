//! The tables in memory, for tests: the plainest thing that is a [`Writer`].

use std::collections::{BTreeMap, btree_map};

use super::{Cursor, Snapshot, StoreError, Table, Writer};

/// Every table as a sorted map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MapStore {
    tables: BTreeMap<Table, BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl MapStore {
    /// Every row of a table, in key order.
    pub fn rows(&self, table: Table) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.tables.get(&table).into_iter().flatten().map(|(key, value)| (&key[..], &value[..]))
    }
}

impl Snapshot for MapStore {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.tables.get(&table).and_then(|rows| rows.get(key)).cloned())
    }

    fn cursor<'a>(
        &'a self,
        table: Table,
        from: &[u8],
        until: Option<&[u8]>,
    ) -> Result<Box<dyn Cursor + 'a>, StoreError> {
        let rows =
            match (self.tables.get(&table), until) {
                (Some(rows), Some(until)) if from < until => Some(rows.range::<[u8], _>((
                    std::ops::Bound::Included(from),
                    std::ops::Bound::Excluded(until),
                ))),
                (Some(rows), None) => Some(rows.range::<[u8], _>((
                    std::ops::Bound::Included(from),
                    std::ops::Bound::Unbounded,
                ))),
                (None, _) | (Some(_), Some(_)) => None,
            };
        Ok(Box::new(MapCursor { rows, row: (&[], &[]) }))
    }

    fn count(&self, table: Table) -> Result<u64, StoreError> {
        Ok(self.tables.get(&table).map_or(0, |rows| rows.len() as u64))
    }
}

impl Writer for MapStore {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.tables.entry(table).or_default().insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    fn delete(&mut self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        if let Some(rows) = self.tables.get_mut(&table) {
            rows.remove(key);
        }
        Ok(())
    }
}

struct MapCursor<'a> {
    /// `None` where the range is empty from the start.
    rows: Option<btree_map::Range<'a, Vec<u8>, Vec<u8>>>,
    row: (&'a [u8], &'a [u8]),
}

impl Cursor for MapCursor<'_> {
    fn advance(&mut self) -> Result<bool, StoreError> {
        let next = self.rows.as_mut().and_then(Iterator::next);
        if let Some((key, value)) = next {
            self.row = (key, value);
        }
        Ok(next.is_some())
    }

    fn key(&self) -> &[u8] {
        self.row.0
    }

    fn value(&self) -> &[u8] {
        self.row.1
    }
}
