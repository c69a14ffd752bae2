// A model on a microcontroller, by tflite-micro: windows, or a stream step by step.
//
//     python -m hpcnas.export RUN --format litert --int8 --out kws.tflite     writes kws.h and kws.cc
//
// Compile this file and kws.cc with tflite-micro (https://github.com/tensorflow/tflite-micro), whose sources hpcnas does not
// have: its tests check this file against declarations of what it calls, and run the same graphs in tflite-micro's interpreter
// for Python. LogMel() is yours: Kaldi's filter bank, such as that of kaldi-native-fbank, with the options that kws.h tells.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>

#include "kws.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"

namespace model = kws;

// Fills (kBands, kFrames), all frames of a band side by side, with the next frames; false at the end.
bool LogMel(float* log_mel);

namespace {

// kArenaSize is what the graph took when it was tried; the rest is for other alignments.
alignas(16) std::uint8_t arena[model::kArenaSize + 1024];

void Put(TfLiteTensor* tensor, std::size_t at, double value) {
  if (tensor->type == kTfLiteInt8) {
    const double scaled = std::round(value / tensor->params.scale) + tensor->params.zero_point;
    tensor->data.int8[at] = static_cast<std::int8_t>(std::min(127.0, std::max(-128.0, scaled)));
  } else {
    tensor->data.f[at] = static_cast<float>(value);
  }
}

float Get(const TfLiteTensor* tensor, std::size_t at) {
  if (tensor->type == kTfLiteInt8) return tensor->params.scale * (tensor->data.int8[at] - tensor->params.zero_point);
  return tensor->data.f[at];
}

std::size_t Values(const TfLiteTensor* tensor) { return tensor->bytes / (tensor->type == kTfLiteInt8 ? 1 : sizeof(float)); }

char* Copied(char* to, const TfLiteTensor* tensor) {
  std::memcpy(to, tensor->data.raw, tensor->bytes);
  return to + tensor->bytes;
}

}  // namespace

int main() {
  static tflite::MicroMutableOpResolver<model::kOperators> resolver;
  model::AddOperators(resolver);
  static tflite::MicroInterpreter interpreter(tflite::GetModel(model::kGraph), resolver, arena, sizeof(arena));
  if (interpreter.AllocateTensors() != kTfLiteOk) {
    std::printf("the arena is too small\n");
    return 1;
  }
  for (int n = 1; n <= model::kStates; ++n) {
    TfLiteTensor* input = interpreter.input(n);
    for (std::size_t at = 0; at < Values(input); ++at) Put(input, at, model::kStateStart[n - 1]);
  }
  // The state is kept outside of the arena, where inputs and outputs lie upon each other.
  static char state[model::kStateBytes + 1];
  char* end = state;
  for (int n = 1; n <= model::kStates; ++n) end = Copied(end, interpreter.input(n));
  static float log_mel[model::kBands * model::kFrames];
  int frames = 0;
  while (LogMel(log_mel)) {
    for (int at = 0; at < model::kBands * model::kFrames; ++at) Put(interpreter.input(0), at, log_mel[at]);
    const char* next = state;
    for (int n = 1; n <= model::kStates; ++n) {
      std::memcpy(interpreter.input(n)->data.raw, next, interpreter.input(n)->bytes);
      next += interpreter.input(n)->bytes;
    }
    if (interpreter.Invoke() != kTfLiteOk) return 1;
    // As it is: a state has the same scale where it comes out and where it goes in.
    end = state;
    for (int n = 1; n <= model::kStates; ++n) end = Copied(end, interpreter.output(n));
    frames = std::min(frames + model::kFrames, model::kWindowFrames);
    if (frames < model::kWindowFrames) continue;
    int best = 0;
    for (int k = 1; k < model::kClasses; ++k) {
      if (Get(interpreter.output(0), k) > Get(interpreter.output(0), best)) best = k;
    }
    std::printf("%s\n", model::kClassNames[best]);
  }
  return 0;
}
