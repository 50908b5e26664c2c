//! The memory of huge blocks for the real functions: each system call is an access to the state of a search.

use super::heap_queue::HeapQueue;
use super::memory::{Access, Word, memory_in_use, to_u8};
use crate::error::{MemoryLimit, OutOfMemory};
use crate::protocol::huge_memory::{HugeClass, HugeHints, HugeMemory};
use crate::protocol::ids::BlockIndex;

impl HeapQueue {
    fn payload_of(&self, block: BlockIndex) -> (Word, u64) {
        let number = to_u8(block.get().into());
        let class = self.huge().class_of(number);
        (Word::MemoryOf(number), class.payload)
    }
}

impl HugeMemory for HeapQueue {
    fn huge_classes(&self) -> impl DoubleEndedIterator<Item = HugeClass> {
        self.huge().classes.iter().cloned()
    }

    fn huge_hints(&self) -> &HugeHints {
        self.hints_of_process()
    }

    fn memory_limit(&self) -> u64 {
        self.huge().memory_limit
    }

    fn max_idle_memory(&self) -> u64 {
        self.huge().max_idle_memory
    }

    fn memory(&self) -> u64 {
        memory_in_use(self.call_kernel(Word::Memory, Access::Load))
    }

    fn permanent_memory(&self) -> u64 {
        0
    }

    fn check_system(&self, wanted: u64) -> Result<(), OutOfMemory> {
        let Some(limit) = self.huge().machine_limit else {
            return Ok(());
        };
        let available = limit.saturating_sub(self.memory());
        OutOfMemory::check(MemoryLimit::Machine, wanted, available)
    }

    fn take_memory(&self, block: BlockIndex) -> Result<(), OutOfMemory> {
        let (memory, payload) = self.payload_of(block);
        for unit in 0..payload {
            if self.call_kernel(memory, Access::TakeMemory(unit)) == 0 {
                return OutOfMemory::check(MemoryLimit::Machine, payload, 0);
            }
        }
        Ok(())
    }

    fn give_memory_back(&self, block: BlockIndex) {
        let (memory, payload) = self.payload_of(block);
        for unit in (0..payload).rev() {
            self.call_kernel(memory, Access::GiveMemoryBack(unit));
        }
    }
}
