// Error feedback: what a lossy codec leaves out of a client's update goes into its next one (Seide
// et al. 2014; Stich et al. 2018, Algorithm 1; Karimireddy et al. 2019, Algorithm 2).
//
//   x_t = delta_t + (w_{t−1} / w_t)·e_{t−1}     what is encoded; d_t is what the server decodes
//   e_t = x_t − d_t                             the residual; e_0 = 0
//
//   t    counts the updates of one client to one job that the server accepted: an update that was
//        not leaves the residual as it was
//   w_t  what update t counts: its num_examples where the job weighs by them, else 1
//
// With momentum m it is corrected for what waits (Lin et al. 2018, "Deep gradient compression",
// equations 4 and 5, with momentum factor masking):
//
//   u_t = delta_t + m·(w_{t−1} / w_t)·u_{t−1}   then x_t = u_t + (w_{t−1} / w_t)·e_{t−1}
//   u_t = 0 where d_t is not 0                  what was sent has no momentum left
//
// Without it nothing is missing from the sum of what the server applies but the last residual:
// w_t·d_t = w_t·delta_t + w_{t−1}·e_{t−1} − w_t·e_t, and over t = 1 … T the residuals telescope:
// Σ w_t·d_t = Σ w_t·delta_t − w_T·e_T.
#ifndef TRIBUTARY_COMMON_CODEC_ERROR_FEEDBACK_H_
#define TRIBUTARY_COMMON_CODEC_ERROR_FEEDBACK_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "common/config/schema.h"
#include "common/params/mask.h"
#include "common/params/param_vector.h"

namespace tributary {

class Codec;
struct CodecContext;

// The options of a job's `error_feedback:`.
struct ErrorFeedbackOptions {
  double momentum = 0;

  static void Describe(config::Fields<ErrorFeedbackOptions>& fields);
};

// What a client does, as its work order says.
struct ErrorFeedback {
  enum Weights : uint8_t {
    kOff,
    kEven,        // w_t = 1
    kByExamples,  // w_t = num_examples
  };
  // NOLINTNEXTLINE(google-explicit-constructor): weights alone are what there mostly is
  ErrorFeedback(Weights w = kOff, double m = 0) : weights(w), momentum(m) {}
  friend bool operator==(const ErrorFeedback&, const ErrorFeedback&) = default;

  Weights weights;
  double momentum;  // m, [0, 1)
};

struct Residual {
  ParamVector values;    // e over the trainable coordinates; the buffers are zero
  int64_t weight = 1;    // w of the update that left it
  int64_t task = 0;      // of that update: of no use in another one
  ParamVector momentum;  // u, of the same layout, the buffers zero; empty: none
};

struct EncodedUpdate {
  std::string payload;  // as of EncodeUpdate
  // What the payload leaves out. None without error feedback, or when it would not be finite.
  std::optional<Residual> residual;
};

// EncodeUpdate of `delta` and, if `feedback` is on, of what `before` left out, projected on the
// context's mask. `before` null: nothing; nothing is taken from one of another layout or task
// either, nor of a part with which the sum would not be finite. Internal: the codec cannot read
// what it wrote.
absl::StatusOr<EncodedUpdate> EncodeWithFeedback(const Codec& codec, ErrorFeedback feedback,
                                                 ParamVector delta, int64_t num_examples,
                                                 const Residual* before,
                                                 const CodecContext& context);

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_CODEC_ERROR_FEEDBACK_H_
