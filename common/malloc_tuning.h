// TuneMalloc: the C library's allocator, for a process that moves models in chunks.
#ifndef TRIBUTARY_COMMON_MALLOC_TUNING_H_
#define TRIBUTARY_COMMON_MALLOC_TUNING_H_

namespace tributary {

// First thing in main. Buffers of at least `bytes` go back to the system as soon as they are free;
// smaller ones are taken from what the process keeps, at most twice as much unused: left alone,
// malloc gives chunks of 1 MiB back each time, and each costs the faults of its pages (a tenth of
// a round, docs/measurements.md). `bytes` is at most 32 MiB. Of glibc; elsewhere nothing.
void TuneMalloc(int bytes);

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_MALLOC_TUNING_H_
