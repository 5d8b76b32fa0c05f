//! What polls do with memory and libraries.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BinaryHeap, HashMap, HashSet, VecDeque},
    env, fs,
    hash::{BuildHasher as _, RandomState},
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI8, AtomicU16, AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use crate::Spawner;

pub(crate) fn spawn(tasks: &Spawner) {
    tasks.work(copies);
    tasks.work(large_copies);
    tasks.work(comparisons);
    tasks.work(searches);
    tasks.work(strings);
    tasks.work(maps());
    tasks.work(queues);
    tasks.work(sorting);
    tasks.work(allocations);
    tasks.work(pointers());
    tasks.work(atomics());
    tasks.work(clocks);
    tasks.work(kernel);
}

/// Copies in all lengths that a `memcpy` handles specially, and with different alignments.
fn copies() {
    let from: Vec<u8> = (0..9000_u32).map(|n| (n * 7) as u8).collect();
    let mut to = vec![0_u8; 9000];
    let lengths = (0..70).chain([96, 127, 128, 129, 200, 255, 256, 257, 500, 512, 1000]);
    let lengths = lengths.chain([2048, 2049, 3000, 4095, 4096, 8000]);
    for length in lengths {
        let start = length % 17;
        to[start..start + length].copy_from_slice(&from[3..3 + length]);
        black_box(&mut to).copy_within(start..start + length, start + 5);
        black_box(&mut to).copy_within(start + 5..start + 5 + length, start);
        black_box(&mut to)[start..start + length].fill(length as u8);
        black_box(&mut to)[..length].fill(0);
        black_box(&mut to)[..length].reverse();
    }
}

fn large_copies() {
    for length in [20_000, 70_000] {
        let from = black_box(vec![3_u8; length]);
        let mut to = black_box(vec![0_u8; length]);
        to[..length - 9].copy_from_slice(&from[9..]);
        black_box(&to);
    }
}

fn comparisons() {
    let a: Vec<u8> = (0..600_u32).map(|n| n as u8).collect();
    let b = a.clone();
    for length in (0..40).chain([63, 64, 65, 127, 128, 300, 599]) {
        let (a, b) = black_box((&a[..length], &b[..length]));
        black_box((a == b, a.cmp(b), a.starts_with(b)));
        black_box(a < black_box(&b[..length / 2]));
    }
    black_box(a[1..].cmp(&b[..599]));
}

fn searches() {
    let text: String = (0..40).map(|n| format!("line {n}: some text; ")).collect();
    let bytes = black_box(text.as_bytes());
    black_box(memchr::memchr(b'#', bytes));
    black_box(memchr::memchr3(b'#', b'9', b'~', bytes));
    black_box(memchr::memrchr(b'l', bytes));
    black_box(memchr::memmem::find(bytes, b"line 30"));
    black_box(memchr::memmem::find_iter(bytes, b"text").count());
    black_box((text.find("line 27:"), text.rfind("some"), text.find('~')));
    black_box(text.split("; ").map(str::len).sum::<usize>());
    black_box(bytes.iter().rposition(|byte| *byte == b'x'));
    black_box(std::ffi::CStr::from_bytes_until_nul(b"0123456789abcdef0123456789abcdef\0").is_ok());
}

fn strings() {
    let text = black_box("Ärger mit ſcharfen ßen, \u{1f600} und 中文 dazu; plain ASCII behind it");
    black_box((
        text.to_uppercase(),
        text.to_lowercase(),
        text.to_ascii_lowercase(),
    ));
    black_box(text.chars().rev().collect::<String>());
    black_box(
        text.char_indices()
            .filter(|(_, c)| c.is_alphabetic())
            .count(),
    );
    black_box(String::from_utf8_lossy(&text.as_bytes()[1..40]));
    black_box(std::str::from_utf8(black_box(&[b'a'; 300])).is_ok());
    black_box(text.encode_utf16().map(u32::from).sum::<u32>());
    black_box(text.split_whitespace().collect::<Vec<_>>().join("-"));
    black_box(text.replace("ß", "ss").repeat(3));
    black_box(
        text.trim_matches(|c: char| c.is_uppercase())
            .escape_unicode()
            .count(),
    );
}

/// Uses maps that last from poll to poll.
fn maps() -> impl FnMut() {
    let mut hashed: HashMap<String, u64> = HashMap::new();
    let mut ordered: BTreeMap<u64, String> = BTreeMap::new();
    let mut next = 0_u64;
    move || {
        for _ in 0..16 {
            next = next.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let key = format!("key {}", next >> 58);
            *hashed.entry(key.clone()).or_default() += 1;
            ordered.insert(next >> 50, key);
        }
        hashed.retain(|_, count| *count % 3 != 0);
        black_box(hashed.remove("key 7"));
        black_box(hashed.values().max());
        black_box(ordered.range(1000..9000).next_back());
        let few: Vec<u64> = ordered.keys().copied().step_by(3).collect();
        for key in &few {
            ordered.remove(key);
        }
        let set: HashSet<u64> = few.into_iter().collect();
        black_box(set.contains(&next));
    }
}

fn queues() {
    let mut heap: BinaryHeap<(u32, &str)> = BinaryHeap::new();
    let mut queue: VecDeque<u32> = VecDeque::with_capacity(8);
    for n in 0..60_u32 {
        heap.push((n.wrapping_mul(2_654_435_761) >> 20, "element"));
        queue.push_back(n);
        if n % 3 == 0 {
            queue.rotate_left(queue.len() / 2);
            black_box((heap.pop(), queue.pop_front()));
        }
    }
    black_box(queue.make_contiguous().binary_search(&30).ok());
    black_box(heap.into_sorted_vec());
}

fn sorting() {
    let mut numbers: Vec<u64> = (0..24_u64)
        .map(|n| n.wrapping_mul(0x9e37_79b9) % 1009)
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    let mut floats: Vec<f64> = numbers.iter().map(|n| (*n as f64).sin()).collect();
    floats.sort_by(f64::total_cmp);
    black_box(floats.partition_point(|x| *x < 0.0));
    let some = numbers.iter().take(12);
    let mut names: Vec<String> = some.map(|n| format!("{n:b}")).collect();
    names.sort();
    names.sort_by_key(String::len);
    black_box(names.concat());
    black_box(
        numbers
            .chunks(7)
            .map(|chunk| chunk.iter().fold(1_u64, |all, n| all.wrapping_mul(*n)) >> 60)
            .sum::<u64>(),
    );
}

fn allocations() {
    let mut kept = Vec::new();
    for size in (0..30).map(|n| 1_usize << (n % 16)) {
        let mut one = vec![0_u8; size];
        one.resize(size * 3 / 2 + 1, 7);
        one.shrink_to_fit();
        kept.push(one.into_boxed_slice());
    }
    kept.swap(3, 20);
    kept.truncate(15);
    black_box(Box::new([1_u64; 900]));
    black_box(kept);
}

/// Calls through pointers, and counts references.
fn pointers() -> impl FnMut() {
    type Step = Box<dyn Fn(u64) -> u64 + Send>;
    let steps: Vec<Step> = vec![
        Box::new(|n| n + 1),
        Box::new(|n| n * 3),
        Box::new(move |n| n ^ 0xff),
        Box::new(|n| format!("{n}").len() as u64),
    ];
    thread_local!(static SEEN: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) });
    let shared: Arc<str> = Arc::from("shared");
    move || {
        let result = (0..20).fold(1_u64, |n, index| steps[index % steps.len()](n));
        SEEN.with_borrow_mut(|seen| seen.push(result));
        let others = vec![Arc::clone(&shared); 5];
        black_box((Arc::strong_count(&shared), Arc::ptr_eq(&shared, &others[2])));
        let numbers = [7, 8, 9].map(|n: u8| n.checked_sub(8).ok_or("too small"));
        black_box(numbers.iter().filter_map(|one| one.ok()).sum::<u8>());
        let numbers: Result<Vec<u8>, &str> = numbers.into_iter().collect();
        black_box(numbers.is_err());
    }
}

fn atomics() -> impl FnMut() {
    let (word, short, byte) = (AtomicU64::new(5), AtomicU16::new(6), AtomicI8::new(7));
    let flag = AtomicBool::new(false);
    move || {
        black_box((
            word.fetch_add(3, SeqCst),
            word.fetch_and(!1, SeqCst),
            word.swap(9, SeqCst),
        ));
        black_box(word.compare_exchange(9, 10, SeqCst, SeqCst).is_ok());
        black_box(word.compare_exchange(9, 11, SeqCst, SeqCst).is_err());
        black_box(
            word.try_update(SeqCst, SeqCst, |n| n.checked_mul(3))
                .is_ok(),
        );
        black_box((
            short.fetch_or(0x100, SeqCst),
            short.fetch_xor(3, SeqCst),
            short.fetch_max(9, SeqCst),
        ));
        black_box((
            byte.fetch_sub(9, SeqCst),
            byte.fetch_nand(1, SeqCst),
            byte.load(SeqCst),
        ));
        black_box((flag.swap(true, SeqCst), flag.fetch_not(SeqCst)));
    }
}

fn clocks() {
    let start = Instant::now();
    black_box(start.checked_add(Duration::from_secs_f64(1.25)));
    black_box(start.elapsed().as_secs_f32());
    black_box(
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .ok(),
    );
}

/// Makes system calls; none of them is executed, and each gets an answer.
fn kernel() {
    thread::yield_now();
    black_box(thread::current().id());
    black_box(env::var("PATH").map(|path| path.len()).ok());
    black_box(
        fs::read_to_string("/proc/self/comm")
            .map_err(|error| error.to_string())
            .ok(),
    );
    black_box(RandomState::new().hash_one("name"));
}
