//! The locks replace tokio's: one body, which uses every method, is compiled and run with both, and
//! the types have the auto traits that tokio's have.
#![cfg(feature = "tokio")]
#![allow(clippy::unwrap_used)]

use std::{fmt::Debug, sync::Arc, thread, time::Duration};

use tokio::{sync as tokios, time::timeout};

/// Long enough to show that something does not happen.
const MOMENT: Duration = Duration::from_millis(1);

macro_rules! with_both {
    ($($name:ident: |$sync:ident| $body:block)*) => {
        $(
            mod $name {
                use super::*;

                #[tokio::test]
                async fn as_tokio() {
                    use tokios as $sync;
                    $body
                }

                #[tokio::test]
                async fn as_rtops() {
                    use rtops_sync as $sync;
                    $body
                }
            }
        )*
    };
}

with_both! {
    mutex: |sync| {
        static STATIC: sync::Mutex<u8> = sync::Mutex::const_new(1);
        assert_eq!(*STATIC.lock().await, 1);
        let mut mutex = sync::Mutex::new((1, 2));
        *mutex.get_mut() = (3, 4);
        assert_eq!(format!("{mutex:?}"), "Mutex { data: (3, 4) }");
        {
            let mut guard = mutex.lock().await;
            guard.0 += 1;
            assert!(std::ptr::eq(sync::MutexGuard::mutex(&guard), &mutex));
            assert_eq!(format!("{guard:?}"), "(4, 4)");
            assert_eq!(format!("{mutex:?}"), "Mutex { data: <locked> }");
            assert!(mutex.try_lock().is_err());
            assert!(timeout(MOMENT, mutex.lock()).await.is_err());
            let guard = sync::MutexGuard::try_map(guard, |_| None::<&mut i32>).unwrap_err();
            let guard = sync::MutexGuard::try_map(guard, |pair| Some(&mut pair.0));
            let mut guard: sync::MappedMutexGuard<'_, i32> = guard.unwrap();
            *guard += 1;
            assert_eq!(format!("{guard} {guard:?}"), "5 5");
            assert!(mutex.try_lock().is_err());
        }
        {
            let guard = sync::MutexGuard::map(mutex.try_lock().unwrap(), |pair| pair);
            let guard = sync::MappedMutexGuard::try_map(guard, |_| None::<&mut i32>);
            let guard = sync::MappedMutexGuard::map(guard.unwrap_err(), |pair| &mut pair.1);
            let guard = sync::MappedMutexGuard::try_map(guard, |value| Some(value)).unwrap();
            assert_eq!(*guard, 4);
        }
        assert_eq!(mutex.into_inner(), (5, 4));
        let unsized_one: Box<sync::Mutex<[u8]>> = Box::new(sync::Mutex::new([1, 2, 3]));
        assert_eq!(unsized_one.lock().await.len(), 3);
        assert_eq!(sync::Mutex::<u8>::default().into_inner(), 0);
        assert_eq!(sync::Mutex::from("a").into_inner(), "a");
    }

    owned_mutex: |sync| {
        let mutex = Arc::new(sync::Mutex::new((1, "two")));
        let dynamic: Arc<sync::Mutex<dyn Debug + Send>> = mutex.clone();
        {
            let guard: sync::OwnedMutexGuard<(i32, &str)> = mutex.clone().lock_owned().await;
            assert!(Arc::ptr_eq(sync::OwnedMutexGuard::mutex(&guard), &mutex));
            assert!(timeout(MOMENT, dynamic.clone().lock_owned()).await.is_err());
            assert!(mutex.clone().try_lock_owned().is_err());
            let guard = sync::OwnedMutexGuard::try_map(guard, |_| None::<&mut i32>).unwrap_err();
            let guard = sync::OwnedMutexGuard::try_map(guard, |pair| Some(&mut pair.1));
            let guard: sync::OwnedMappedMutexGuard<(i32, &str), &str> = guard.unwrap();
            assert_eq!(format!("{guard} {guard:?}"), "two \"two\"");
        }
        {
            let mut guard = mutex.clone().try_lock_owned().unwrap();
            guard.0 = 7;
            assert_eq!(format!("{guard:?}"), "(7, \"two\")");
            let guard = sync::OwnedMutexGuard::map(guard, |pair| pair);
            let guard = sync::OwnedMappedMutexGuard::try_map(guard, |_| None::<&mut i32>);
            let guard = sync::OwnedMappedMutexGuard::map(guard.unwrap_err(), |pair| &mut pair.0);
            let guard = sync::OwnedMappedMutexGuard::try_map(guard, |value| Some(value));
            *guard.unwrap() += 1;
        }
        assert_eq!(format!("{:?}", dynamic.lock_owned().await), "(8, \"two\")");
        let weak = Arc::downgrade(&mutex);
        let guard = mutex.lock_owned().await;
        assert!(weak.upgrade().is_some());
        drop(guard);
        assert!(weak.upgrade().is_none());
    }

    mutex_on_threads: |sync| {
        let mutex = Arc::new(sync::Mutex::new(1));
        let other = mutex.clone();
        thread::spawn(move || {
            *other.blocking_lock() += 1;
            *other.blocking_lock_owned() += 1;
        })
        .join()
        .unwrap();
        assert_eq!(*mutex.lock().await, 3);
        let other = mutex.clone();
        let here = tokio::spawn(async move { drop(other.blocking_lock()) }).await;
        let told = here.unwrap_err().into_panic();
        assert!(told.downcast_ref::<&str>().copied().map_or_else(
            || told.downcast_ref::<String>().unwrap().contains("Cannot block the current thread"),
            |told| told.contains("Cannot block the current thread"),
        ));
        let held = mutex.clone().lock_owned().await;
        let other = mutex.clone();
        let waits = tokio::task::spawn_blocking(move || *other.blocking_lock());
        tokio::task::yield_now().await;
        drop(held);
        assert_eq!(waits.await.unwrap(), 3);
    }

    rwlock: |sync| {
        static STATIC: sync::RwLock<u8> = sync::RwLock::const_new(1);
        static FEW: sync::RwLock<u8> = sync::RwLock::const_with_max_readers(1, 2);
        assert_eq!(*STATIC.read().await, 1);
        let two = (FEW.read().await, FEW.try_read().unwrap());
        assert!(FEW.try_read().is_err());
        drop(two);
        let mut lock = sync::RwLock::with_max_readers((1, 2), 8);
        *lock.get_mut() = (3, 4);
        assert_eq!(format!("{lock:?}"), "RwLock { data: (3, 4) }");
        {
            let reader: sync::RwLockReadGuard<'_, (i32, i32)> = lock.read().await;
            let second = lock.try_read().unwrap();
            assert_eq!(format!("{reader:?}"), "(3, 4)");
            assert!(lock.try_write().is_err());
            assert!(timeout(MOMENT, lock.write()).await.is_err());
            let reader = sync::RwLockReadGuard::try_map(reader, |_| None::<&i32>).unwrap_err();
            let reader = sync::RwLockReadGuard::map(reader, |pair| &pair.1);
            let reader = sync::RwLockReadGuard::try_map(reader, |value| Some(value)).unwrap();
            assert_eq!((format!("{reader}"), second.0), ("4".to_owned(), 3));
        }
        {
            let mut writer: sync::RwLockWriteGuard<'_, (i32, i32)> = lock.write().await;
            writer.0 += 1;
            assert_eq!(format!("{writer:?} {lock:?}"), "(4, 4) RwLock { data: <locked> }");
            assert!(timeout(MOMENT, lock.read()).await.is_err());
            let reader = writer.downgrade();
            assert_eq!(lock.read().await.0, reader.0);
        }
        {
            let writer = lock.try_write().unwrap();
            let writer = sync::RwLockWriteGuard::try_map(writer, |_| None::<&mut i32>);
            let writer = sync::RwLockWriteGuard::map(writer.unwrap_err(), |pair| &mut pair.0);
            let writer = sync::RwLockMappedWriteGuard::try_map(writer, |_| None::<&mut i32>);
            let writer: sync::RwLockMappedWriteGuard<'_, i32> = writer.unwrap_err();
            let writer = sync::RwLockMappedWriteGuard::map(writer, |value| value);
            let writer = sync::RwLockMappedWriteGuard::try_map(writer, |value| Some(value));
            let mut writer = writer.unwrap();
            *writer += 1;
            assert_eq!(format!("{writer} {writer:?}"), "5 5");
        }
        {
            let mapped = sync::RwLockWriteGuard::try_map(lock.write().await, |pair| Some(pair));
            assert_eq!(mapped.unwrap().0, 5);
            sync::RwLockWriteGuard::into_mapped(lock.write().await).1 = 6;
            let writer = lock.write().await;
            let writer = sync::RwLockWriteGuard::try_downgrade_map(writer, |_| None::<&i32>);
            let writer = writer.unwrap_err();
            let reader = sync::RwLockWriteGuard::try_downgrade_map(writer, |pair| Some(&pair.1));
            let second = lock.read().await;
            assert_eq!((*reader.unwrap(), second.0), (6, 5));
        }
        let reader = sync::RwLockWriteGuard::downgrade_map(lock.write().await, |pair| &pair.0);
        assert_eq!(*reader, lock.read().await.0);
        drop(reader);
        assert_eq!(lock.into_inner(), (5, 6));
        let unsized_one: Box<sync::RwLock<[u8]>> = Box::new(sync::RwLock::new([1, 2, 3]));
        assert_eq!(unsized_one.write().await.len(), 3);
        assert_eq!(sync::RwLock::<u8>::default().into_inner(), 0);
        assert_eq!(sync::RwLock::from("a").into_inner(), "a");
    }

    owned_rwlock: |sync| {
        let lock = Arc::new(sync::RwLock::new((1, "two")));
        {
            let reader: sync::OwnedRwLockReadGuard<(i32, &str)> = lock.clone().read_owned().await;
            let second = lock.clone().try_read_owned().unwrap();
            assert!(Arc::ptr_eq(sync::OwnedRwLockReadGuard::rwlock(&reader), &lock));
            assert!(lock.clone().try_write_owned().is_err());
            assert!(timeout(MOMENT, lock.clone().write_owned()).await.is_err());
            let reader = sync::OwnedRwLockReadGuard::try_map(reader, |_| None::<&i32>);
            let reader = sync::OwnedRwLockReadGuard::map(reader.unwrap_err(), |pair| &pair.1);
            let reader = sync::OwnedRwLockReadGuard::try_map(reader, |value| Some(value)).unwrap();
            assert_eq!(format!("{reader} {reader:?} {}", second.0), "two \"two\" 1");
        }
        {
            let mut writer: sync::OwnedRwLockWriteGuard<_> = lock.clone().write_owned().await;
            writer.0 += 1;
            assert!(Arc::ptr_eq(sync::OwnedRwLockWriteGuard::rwlock(&writer), &lock));
            assert_eq!(format!("{writer:?}"), "(2, \"two\")");
            assert!(timeout(MOMENT, lock.clone().read_owned()).await.is_err());
            let reader = writer.downgrade();
            assert_eq!(lock.clone().read_owned().await.0, reader.0);
        }
        {
            let writer = lock.clone().try_write_owned().unwrap();
            let writer = sync::OwnedRwLockWriteGuard::try_map(writer, |_| None::<&mut i32>);
            let writer = sync::OwnedRwLockWriteGuard::map(writer.unwrap_err(), |pair| pair);
            assert!(Arc::ptr_eq(sync::OwnedRwLockMappedWriteGuard::rwlock(&writer), &lock));
            let writer = sync::OwnedRwLockMappedWriteGuard::try_map(writer, |_| None::<&mut i32>);
            let writer = writer.unwrap_err();
            let writer = sync::OwnedRwLockMappedWriteGuard::map(writer, |pair| &mut pair.0);
            let writer = sync::OwnedRwLockMappedWriteGuard::try_map(writer, |value| Some(value));
            let mut writer: sync::OwnedRwLockMappedWriteGuard<(i32, &str), i32> = writer.unwrap();
            *writer += 1;
            assert_eq!(format!("{writer} {writer:?}"), "3 3");
        }
        let writer = lock.clone().write_owned().await;
        sync::OwnedRwLockWriteGuard::into_mapped(writer).1 = "three";
        let writer = lock.clone().write_owned().await;
        let writer = sync::OwnedRwLockWriteGuard::try_map(writer, |pair| Some(&mut pair.1));
        assert_eq!(*writer.unwrap(), "three");
        let writer = lock.clone().write_owned().await;
        let writer = sync::OwnedRwLockWriteGuard::try_downgrade_map(writer, |_| None::<&i32>);
        let writer = writer.unwrap_err();
        let reader = sync::OwnedRwLockWriteGuard::try_downgrade_map(writer, |pair| Some(&pair.0));
        assert_eq!(*reader.unwrap(), 3);
        let writer = lock.clone().write_owned().await;
        let reader = sync::OwnedRwLockWriteGuard::downgrade_map(writer, |pair| &pair.0);
        assert_eq!(*reader, lock.read().await.0);
        drop(reader);
        let other = lock.clone();
        thread::spawn(move || {
            other.blocking_write().0 += 1;
            assert_eq!(other.blocking_read().0, 4);
        })
        .join()
        .unwrap();
    }

    semaphore: |sync| {
        static STATIC: sync::Semaphore = sync::Semaphore::const_new(1);
        drop(STATIC.acquire().await.unwrap());
        let semaphore = sync::Semaphore::new(3);
        assert!(format!("{semaphore:?}").contains("permits: 3"), "{semaphore:?}");
        let mut permit: sync::SemaphorePermit<'_> = semaphore.acquire().await.unwrap();
        let two = semaphore.acquire_many(2).await.unwrap();
        assert_eq!((two.num_permits(), semaphore.available_permits()), (2, 0));
        assert!(semaphore.try_acquire().is_err());
        assert!(semaphore.try_acquire_many(2).is_err());
        assert!(timeout(MOMENT, semaphore.acquire()).await.is_err());
        permit.merge(two);
        assert!(permit.split(4).is_none());
        let rest = permit.split(1).unwrap();
        assert!(std::ptr::eq(rest.semaphore(), &semaphore));
        assert_eq!((permit.num_permits(), rest.num_permits()), (2, 1));
        assert!(format!("{permit:?}").contains("permits: 2"), "{permit:?}");
        permit.forget();
        drop(rest);
        assert_eq!(semaphore.available_permits(), 1);
        semaphore.add_permits(3);
        assert_eq!(semaphore.forget_permits(2), 2);
        drop((semaphore.try_acquire().unwrap(), semaphore.try_acquire_many(1).unwrap()));
        assert!(!semaphore.is_closed());
        semaphore.close();
        assert!(semaphore.is_closed() && semaphore.acquire().await.is_err());
        assert!(matches!(semaphore.try_acquire(), Err(tokios::TryAcquireError::Closed)));
        assert_eq!(sync::Semaphore::MAX_PERMITS, tokios::Semaphore::MAX_PERMITS);
    }

    owned_semaphore: |sync| {
        let semaphore = Arc::new(sync::Semaphore::new(3));
        let mut permit: sync::OwnedSemaphorePermit = semaphore.clone().acquire_owned().await.unwrap();
        let two = semaphore.clone().acquire_many_owned(2).await.unwrap();
        assert!(semaphore.clone().try_acquire_owned().is_err());
        assert!(semaphore.clone().try_acquire_many_owned(2).is_err());
        assert!(timeout(MOMENT, semaphore.clone().acquire_owned()).await.is_err());
        permit.merge(two);
        assert!(permit.split(4).is_none());
        let rest = permit.split(1).unwrap();
        assert!(Arc::ptr_eq(rest.semaphore(), &semaphore));
        assert_eq!((permit.num_permits(), rest.num_permits()), (2, 1));
        assert!(format!("{permit:?}").contains("SemaphorePermit { sem: "));
        permit.forget();
        drop(rest);
        let other = semaphore.clone();
        thread::spawn(move || {
            drop(other.blocking_acquire().unwrap());
            drop(other.blocking_acquire_many(1).unwrap());
            drop(other.clone().blocking_acquire_owned().unwrap());
            drop(other.blocking_acquire_many_owned(1).unwrap());
        })
        .join()
        .unwrap();
        assert_eq!(semaphore.available_permits(), 1);
    }
}

#[tokio::test]
#[should_panic(expected = "merging permits from different semaphore instances")]
async fn permits_of_two_semaphores_are_not_merged() {
    let (one, other) = (rtops_sync::Semaphore::new(1), rtops_sync::Semaphore::new(1));
    let mut permit = one.acquire().await.unwrap();
    permit.merge(other.acquire().await.unwrap());
}

/// Returns whether a type has an auto trait. An inherent method takes precedence over one of a
/// trait that all types implement.
macro_rules! has {
    ($auto:path, $type:ty) => {{
        #[allow(dead_code)]
        trait Otherwise {
            fn has(&self) -> bool {
                false
            }
        }
        struct Probe<T: ?Sized>(std::marker::PhantomData<T>);
        impl<T: ?Sized> Otherwise for Probe<T> {}
        #[allow(dead_code)]
        impl<T: ?Sized + $auto> Probe<T> {
            fn has(&self) -> bool {
                true
            }
        }
        Probe::<$type>(std::marker::PhantomData).has()
    }};
}

macro_rules! auto_traits {
    ($type:ty) => {
        [
            ("Send", has!(Send, $type)),
            ("Sync", has!(Sync, $type)),
            ("Unpin", has!(Unpin, $type)),
            ("UnwindSafe", has!(std::panic::UnwindSafe, $type)),
            ("RefUnwindSafe", has!(std::panic::RefUnwindSafe, $type)),
        ]
    };
}

macro_rules! has_auto_traits {
    ($($name:ident [$($arguments:tt)*])*) => {
        $(
            let ours = auto_traits!(rtops_sync::$name<$($arguments)*>);
            for (of_tokio, ours) in auto_traits!(tokios::$name<$($arguments)*>).iter().zip(ours) {
                assert!(!of_tokio.1 || ours.1, "{} {}", stringify!($name<$($arguments)*>), ours.0);
            }
        )*
    };
}

/// Respectively neither `Send` nor `Sync`, only `Send`, only `Sync`.
type Neither = *const u8;
type Send_ = std::cell::Cell<u8>;
type Sync_ = std::sync::MutexGuard<'static, u8>;

#[test]
fn the_types_have_the_auto_traits_of_those_of_tokio() {
    macro_rules! with_value {
        ($($value:ty),*) => {
            $(has_auto_traits! {
                Mutex [$value]
                MutexGuard ['static, $value]
                MappedMutexGuard ['static, $value]
                OwnedMutexGuard [$value]
                OwnedMappedMutexGuard [$value, $value]
                OwnedMappedMutexGuard [$value, u8]
                OwnedMappedMutexGuard [u8, $value]
                RwLock [$value]
                RwLockReadGuard ['static, $value]
                RwLockWriteGuard ['static, $value]
                RwLockMappedWriteGuard ['static, $value]
                OwnedRwLockReadGuard [$value, $value]
                OwnedRwLockReadGuard [$value, u8]
                OwnedRwLockReadGuard [u8, $value]
                OwnedRwLockWriteGuard [$value]
                OwnedRwLockMappedWriteGuard [$value, $value]
                OwnedRwLockMappedWriteGuard [$value, u8]
                OwnedRwLockMappedWriteGuard [u8, $value]
            })*
        };
    }
    with_value!(
        u8,
        Neither,
        Send_,
        Sync_,
        std::cell::RefCell<u8>,
        &'static mut u8
    );
    has_auto_traits! {
        Semaphore []
        SemaphorePermit ['static]
        OwnedSemaphorePermit []
    }
}

macro_rules! traits_of_futures {
    ($sync:ident, $value:expr) => {{
        fn send_and_sync<T: Send + Sync>(_: T) {}
        fn for_ever<T: 'static>(_: T) {}
        let mutex = Arc::new($sync::Mutex::new($value));
        let lock = Arc::new($sync::RwLock::new($value));
        let semaphore = Arc::new($sync::Semaphore::new(1));
        send_and_sync(mutex.lock());
        send_and_sync(mutex.clone().lock_owned());
        for_ever(mutex.clone().lock_owned());
        send_and_sync(lock.read());
        send_and_sync(lock.write());
        send_and_sync(lock.clone().read_owned());
        send_and_sync(lock.clone().write_owned());
        for_ever(lock.clone().write_owned());
        send_and_sync(semaphore.acquire());
        send_and_sync(semaphore.acquire_many(1));
        send_and_sync(semaphore.clone().acquire_owned());
        for_ever(semaphore.clone().acquire_owned());
    }};
}

#[test]
fn futures_can_go_where_those_of_tokio_can() {
    traits_of_futures!(tokios, 1_u8);
    traits_of_futures!(rtops_sync, 1_u8);
}
