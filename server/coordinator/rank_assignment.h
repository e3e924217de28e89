// RankAssignment: which rank of the job's `lora:` section a client's adapter gets (LoraSpec).
//
//   in_turn  the n-th client that came, n from 0: ranks[n mod K]
//   memory   the largest rank whose training fits into the memory that the client declares
//   speed    clients from the fastest on, the n-th of N: the ⌊n·K/N⌋-th of the ranks, descending;
//   the
//            smallest until it was measured once
//
// A client that asks for a rank gets the largest that is no larger, from the job's ranks where it
// has several of them; whoever asks for less than the smallest, or has no memory for it, gets none.
#ifndef TRIBUTARY_SERVER_COORDINATOR_RANK_ASSIGNMENT_H_
#define TRIBUTARY_SERVER_COORDINATOR_RANK_ASSIGNMENT_H_

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "absl/time/time.h"
#include "common/ids.h"
#include "common/lora/lora_spec.h"
#include "common/train_spec/train_spec.h"

namespace tributary {

// What a client of such a job holds at most: two versions of the model, as it makes one of the
// other; the adapter, its gradient and the optimizer's state. Activations, which depend on data and
// batch, and LibTorch itself come on top. Bytes.
struct AdapterMemory {
  int64_t model = 0;      // of one version
  int64_t each_rank = 0;  // of the factors of all modules, per rank
  int64_t copies = 2;     // of them: values, gradient, optimizer's state

  int64_t At(int64_t rank) const { return 2 * model + copies * each_rank * rank; }
};

// Of factors as the local optimizer takes them: 2, and 1 or 2 more for momentum or Adam's moments.
int64_t CopiesInTraining(const TrainSpec& train);

// Thread-compatible.
class RankAssignment {
 public:
  RankAssignment(LoraSpec spec, int64_t copies) : spec_(std::move(spec)) {
    memory_.copies = copies;
  }

  // A client came, or says something new. `wish`: a rank, 0: none; `memory_bytes` 0: not declared.
  void Know(const ClientId& client, int64_t wish, int64_t memory_bytes);
  // Once the model is known.
  void SetModel(int64_t model_bytes, int64_t bytes_each_rank);
  // How long a step took, from order to arrival; a moving average is kept.
  void NoteStep(const ClientId& client, absl::Duration duration);

  // Absent: the client can have none.
  std::optional<int64_t> RankOf(const ClientId& client) const;

  std::vector<int64_t> ranks() const { return spec_.Ranks(); }
  const AdapterMemory& memory() const { return memory_; }

 private:
  struct Client {
    int64_t number = 0;  // in the order in which they came
    int64_t wish = 0;
    int64_t memory_bytes = 0;
    double seconds_per_step = 0;  // 0: not measured
  };
  std::optional<int64_t> LargestUpTo(int64_t most) const;
  std::optional<int64_t> ByMemory(const Client& client) const;
  int64_t BySpeed(const ClientId& id, const Client& client) const;

  const LoraSpec spec_;
  AdapterMemory memory_;
  std::map<ClientId, Client> clients_;
};

}  // namespace tributary

#endif  // TRIBUTARY_SERVER_COORDINATOR_RANK_ASSIGNMENT_H_
