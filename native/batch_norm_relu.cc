// s2hpruner::batch_norm_relu: batch normalisation, a residual added to it and a ReLU, each of the last two optional, in
// one pass over channels_last activations. libtorch's own takes a pass for each, and several times as long where the
// channels are no multiple of its vectors, as they are in a pruned network (docs/performance.md).
//
// Rows of C channels lie one after the other. Loops run over periods of several rows with tables of as many entries, so
// that every width fills the vectors. Sums are float32 over 64 periods, less a pivot per channel, and double above
// that; rows are shared out in a fixed number of parts, so the result is the same for every number of threads.
#include <ATen/ATen.h>
#include <ATen/TensorIterator.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>
#include <torch/version.h>

#include <bit>
#include <cmath>
#include <numeric>
#include <vector>

#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define FOR_EACH_CPU __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define FOR_EACH_CPU
#endif
#define INLINE inline __attribute__((always_inline))

namespace {

using at::Tensor;
#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 4)
using MaybeTensor = std::optional<Tensor>;
#else
using MaybeTensor = c10::optional<Tensor>;
#endif

struct Half {  // bfloat16
  uint16_t bits;
};
INLINE float load(float x) { return x; }
INLINE float load(Half x) { return std::bit_cast<float>(uint32_t(x.bits) << 16); }
INLINE void store(float& to, float x) { to = x; }
INLINE void store(Half& to, float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  to.bits = x != x ? 0x7fc0 : uint16_t(rounded);
}

// Where the gradient passes the ReLU: everywhere; where x * scale + shift is positive; where the output is.
enum class Gate { open, recomputed, output };

// Tables hold one period; `n` elements begin at its start.
struct Tables {
  const float *scale, *shift, *mean, *a, *b, *c;
};

template <class T>
INLINE void sumsOver(const T* x, int64_t n, int64_t period, const float* pivot, float* sum, float* square) {
  for (int64_t i = 0; i < n; i += period) {
    const int64_t end = std::min(period, n - i);
#pragma GCC ivdep
    for (int64_t p = 0; p < end; p++) {
      const float d = load(x[i + p]) - pivot[p];
      sum[p] += d;
      square[p] += d * d;
    }
  }
}

template <class T, bool residual, bool relu>
INLINE void applyOver(const T* x, const T* added, T* y, int64_t n, int64_t period, const Tables& t) {
  for (int64_t i = 0; i < n; i += period) {
    const int64_t end = std::min(period, n - i);
#pragma GCC ivdep
    for (int64_t p = 0; p < end; p++) {
      float z = load(x[i + p]) * t.scale[p] + t.shift[p];
      if (residual) z += load(added[i + p]);
      if (relu) z = z < 0 ? 0 : z;  // keeps what is not a number
      store(y[i + p], z);
    }
  }
}

template <class T, Gate gate>
INLINE float gated(const T* dy, const T* x, const T* y, int64_t at, int64_t p, const Tables& t) {
  const float d = load(dy[at]);
  if (gate == Gate::recomputed) return load(x[at]) * t.scale[p] + t.shift[p] <= 0 ? 0 : d;
  if (gate == Gate::output) return load(y[at]) <= 0 ? 0 : d;
  return d;
}

template <class T, Gate gate, bool keep>
INLINE void gradientSumsOver(const T* dy, const T* x, const T* y, T* dz, int64_t n, int64_t period, const Tables& t,
                             float* sum, float* product) {
  for (int64_t i = 0; i < n; i += period) {
    const int64_t end = std::min(period, n - i);
#pragma GCC ivdep
    for (int64_t p = 0; p < end; p++) {
      const float d = gated<T, gate>(dy, x, y, i + p, p, t);
      if (keep) store(dz[i + p], d);
      sum[p] += d;
      product[p] += d * (load(x[i + p]) - t.mean[p]);
    }
  }
}

template <class T, Gate gate>
INLINE void gradientOver(const T* dy, const T* x, const T* y, T* dx, int64_t n, int64_t period, const Tables& t) {
  for (int64_t i = 0; i < n; i += period) {
    const int64_t end = std::min(period, n - i);
#pragma GCC ivdep
    for (int64_t p = 0; p < end; p++) {
      const float d = gated<T, gate>(dy, x, y, i + p, p, t);
      store(dx[i + p], t.a[p] * d + t.b[p] * (load(x[i + p]) - t.mean[p]) + t.c[p]);
    }
  }
}

// Compiled once per element type and CPU.
#define FOR_TYPE(T)                                                                                                  \
  FOR_EACH_CPU void sums(const T* x, int64_t n, int64_t period, const float* pivot, float* sum, float* square) {     \
    sumsOver(x, n, period, pivot, sum, square);                                                                      \
  }                                                                                                                  \
  FOR_EACH_CPU void apply(const T* x, const T* added, T* y, int64_t n, int64_t period, const Tables& t, bool relu) { \
    if (added && relu) applyOver<T, true, true>(x, added, y, n, period, t);                                          \
    else if (added) applyOver<T, true, false>(x, added, y, n, period, t);                                            \
    else if (relu) applyOver<T, false, true>(x, added, y, n, period, t);                                             \
    else applyOver<T, false, false>(x, added, y, n, period, t);                                                      \
  }                                                                                                                  \
  FOR_EACH_CPU void gradientSums(const T* dy, const T* x, const T* y, T* dz, int64_t n, int64_t period,              \
                                 const Tables& t, float* sum, float* product, Gate gate) {                           \
    if (gate == Gate::output) gradientSumsOver<T, Gate::output, true>(dy, x, y, dz, n, period, t, sum, product);     \
    else if (gate == Gate::open) gradientSumsOver<T, Gate::open, false>(dy, x, y, dz, n, period, t, sum, product);   \
    else gradientSumsOver<T, Gate::recomputed, false>(dy, x, y, dz, n, period, t, sum, product);                     \
  }                                                                                                                  \
  FOR_EACH_CPU void gradient(const T* dy, const T* x, T* dx, int64_t n, int64_t period, const Tables& t,             \
                             bool recomputed) {                                                                      \
    if (recomputed) gradientOver<T, Gate::recomputed>(dy, x, nullptr, dx, n, period, t);                             \
    else gradientOver<T, Gate::open>(dy, x, nullptr, dx, n, period, t);                                              \
  }
FOR_TYPE(float)
FOR_TYPE(Half)

constexpr int64_t parts = 16;

struct Rows {
  int64_t channels, rows, period;
  explicit Rows(const Tensor& x) : channels(x.size(1)), rows(x.numel() / x.size(1)) {
    int64_t together = channels < 256 ? 16 / std::gcd(channels, int64_t(16)) : 1;
    while (together * channels < 256) together *= 2;
    period = together * channels;
  }
  /**
   * Calls f(part, first element, elements) for every part, on libtorch's threads. at::parallel_for is a template that
   * runs serially unless it is compiled with libtorch's own OpenMP; an iterator's loop is inside the library.
   */
  template <class F>
  void share(const F& f) const {
    const int64_t total = rows * channels, periods = (total + period - 1) / period;
    const int64_t each = (periods + parts - 1) / parts * period;
    Tensor numbers = at::empty({parts}, at::kByte);
    const char* zero = static_cast<const char*>(numbers.data_ptr());
    const auto some = [&](char** data, const int64_t* strides, int64_t count) {
      for (int64_t i = 0; i < count; i++) {
        const int64_t part = data[0] + i * strides[0] - zero;
        const int64_t from = std::min(total, part * each);
        const int64_t n = std::min(total, from + each) - from;
        if (n > 0) f(part, from, n);
      }
    };
    const bool small = total < at::internal::GRAIN_SIZE;
    at::TensorIterator::nullary_op(numbers).for_each(some, small ? parts + 1 : 1);
  }
  std::vector<float> repeated(const float* values) const {
    std::vector<float> table(period);
    for (int64_t p = 0; p < period; p++) table[p] = values[p % channels];
    return table;
  }
  /** Two sums per channel: `add(from, n, first, second)` adds elements to two tables of one period. */
  template <class F>
  std::vector<double> twoSums(const F& add) const {
    std::vector<double> all(parts * 2 * channels);
    share([&](int64_t part, int64_t from, int64_t n) {
      std::vector<float> tables(2 * period);
      double* sums = all.data() + part * 2 * channels;
      for (int64_t at = 0; at < n; at += 64 * period) {
        std::fill(tables.begin(), tables.end(), 0.0f);
        add(from + at, std::min(64 * period, n - at), tables.data(), tables.data() + period);
        for (int64_t p = 0; p < period; p++) {
          sums[p % channels] += tables[p];
          sums[channels + p % channels] += tables[period + p];
        }
      }
    });
    for (int64_t part = 1; part < parts; part++)
      for (int64_t c = 0; c < 2 * channels; c++) all[c] += all[part * 2 * channels + c];
    all.resize(2 * channels);
    return all;
  }
};

template <class T>
const T* elements(const Tensor& tensor) {
  return tensor.defined() ? static_cast<const T*>(tensor.data_ptr()) : nullptr;
}

/** As dense rows of channels: channels_last, or two axes. */
Tensor inRows(const Tensor& x) {
  return x.dim() == 4 ? x.contiguous(at::MemoryFormat::ChannelsLast) : x.contiguous();
}

bool isOurs(const Tensor& x, std::initializer_list<const Tensor*> vectors, const Tensor& residual) {
  const auto type = x.scalar_type();
  const bool shaped = (x.dim() == 2 && x.is_contiguous()) ||
                      (x.dim() == 4 && x.is_contiguous(at::MemoryFormat::ChannelsLast));
  if (!shaped || x.numel() == 0 || !x.is_cpu() || (type != at::kFloat && type != at::kBFloat16)) return false;
  // Everything below runs over raw memory.
  for (const Tensor* vector : vectors) {
    const bool fits = vector->scalar_type() == at::kFloat && vector->is_cpu() && vector->is_contiguous() &&
                      vector->numel() == x.size(1);
    if (!fits) return false;
  }
  return !residual.defined() || (residual.sizes() == x.sizes() && residual.scalar_type() == type);
}

template <class T>
Tensor normalise(const Tensor& x, const Tensor& residual, const std::vector<float>& scale,
                 const std::vector<float>& shift, bool relu) {
  const Rows rows(x);
  Tensor y = at::empty_like(x);
  const auto scales = rows.repeated(scale.data()), shifts = rows.repeated(shift.data());
  const Tables tables{scales.data(), shifts.data()};
  const T *from = elements<T>(x), *added = elements<T>(residual);
  T* to = static_cast<T*>(y.data_ptr());
  rows.share([&](int64_t, int64_t at, int64_t n) {
    apply(from + at, added ? added + at : nullptr, to + at, n, rows.period, tables, relu);
  });
  return y;
}

/** Mean and 1 / sqrt(variance + epsilon) of a batch; running statistics move by `momentum`. */
template <class T>
void batchStatistics(const Tensor& x, double momentum, double epsilon, float* mean, float* deviation, float* running,
                     float* runningVariance) {
  const Rows rows(x);
  const T* from = elements<T>(x);
  std::vector<float> pivot(rows.channels);
  for (int64_t c = 0; c < rows.channels; c++) pivot[c] = load(from[c]);
  const auto pivots = rows.repeated(pivot.data());
  const auto sum = rows.twoSums([&](int64_t at, int64_t n, float* first, float* second) {
    sums(from + at, n, rows.period, pivots.data(), first, second);
  });
  const double count = rows.rows;
  for (int64_t c = 0; c < rows.channels; c++) {
    const double d = sum[c] / count;
    const double variance = std::max(0.0, sum[rows.channels + c] / count - d * d);
    mean[c] = pivot[c] + d;
    deviation[c] = 1 / std::sqrt(variance + epsilon);
    running[c] += momentum * (mean[c] - running[c]);
    const double unbiased = count > 1 ? variance * count / (count - 1) : variance;
    runningVariance[c] += momentum * (unbiased - runningVariance[c]);
  }
}

/** Gradients of x, weight, bias and residual; `relu` says what stood behind. */
template <class T>
std::vector<Tensor> gradients(const Tensor& x, const Tensor& y, const Tensor& dy, const Tensor& weight,
                              const Tensor& bias, const Tensor& mean, const Tensor& deviation, bool training,
                              bool relu, bool hasResidual, bool needsInput) {
  const Rows rows(x);
  const int64_t channels = rows.channels;
  const float *gamma = elements<float>(weight), *beta = elements<float>(bias), *mu = elements<float>(mean),
              *inverse = elements<float>(deviation);
  std::vector<float> scale(channels), shift(channels);
  for (int64_t c = 0; c < channels; c++) {
    scale[c] = gamma[c] * inverse[c];
    shift[c] = beta[c] - mu[c] * scale[c];
  }
  const auto scales = rows.repeated(scale.data()), shifts = rows.repeated(shift.data()), means = rows.repeated(mu);
  Tables tables{scales.data(), shifts.data(), means.data()};
  const Gate gate = !relu ? Gate::open : hasResidual ? Gate::output : Gate::recomputed;
  // Behind a residual the gated gradient is wanted as such: it is written on the way.
  Tensor dz = gate == Gate::output ? at::empty_like(x) : dy;
  const T *in = elements<T>(x), *out = elements<T>(y), *d = elements<T>(dy);
  T* gatedD = gate == Gate::output ? static_cast<T*>(dz.data_ptr()) : nullptr;
  const auto sum = rows.twoSums([&](int64_t at, int64_t n, float* first, float* second) {
    gradientSums(d + at, in + at, out ? out + at : nullptr, gatedD ? gatedD + at : nullptr, n, rows.period, tables,
                 first, second, gate);
  });
  Tensor dWeight = at::empty_like(weight), dBias = at::empty_like(bias);
  float *dGamma = static_cast<float*>(dWeight.data_ptr()), *dBeta = static_cast<float*>(dBias.data_ptr());
  std::vector<float> b(channels), e(channels);
  const double count = rows.rows;
  for (int64_t c = 0; c < channels; c++) {
    dBeta[c] = sum[c];
    dGamma[c] = sum[channels + c] * inverse[c];
    b[c] = training ? -double(scale[c]) * inverse[c] * inverse[c] * sum[channels + c] / count : 0;
    e[c] = training ? -double(scale[c]) * sum[c] / count : 0;
  }
  Tensor dx;
  if (needsInput) {
    dx = at::empty_like(x);
    const auto bs = rows.repeated(b.data()), es = rows.repeated(e.data());
    tables.a = scales.data();
    tables.b = bs.data();
    tables.c = es.data();
    const T* g = elements<T>(dz);
    T* to = static_cast<T*>(dx.data_ptr());
    rows.share([&](int64_t, int64_t at, int64_t n) {
      gradient(g + at, in + at, to + at, n, rows.period, tables, gate == Gate::recomputed);
    });
  }
  return {dx, dWeight, dBias, hasResidual ? dz : Tensor()};
}

struct BatchNormRelu : torch::autograd::Function<BatchNormRelu> {
  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& x, const Tensor& weight,
                        const Tensor& bias, const Tensor& runningMean, const Tensor& runningVariance,
                        const MaybeTensor& added, bool training, double momentum, double epsilon, bool relu) {
    const int64_t channels = x.size(1);
    const Tensor residual = added ? inRows(*added) : Tensor();
    Tensor mean = at::empty({channels}, weight.options()), deviation = at::empty({channels}, weight.options());
    float *mu = static_cast<float*>(mean.data_ptr()), *inverse = static_cast<float*>(deviation.data_ptr());
    float *running = static_cast<float*>(runningMean.data_ptr()),
          *runningVar = static_cast<float*>(runningVariance.data_ptr());
    const bool isHalf = x.scalar_type() == at::kBFloat16;
    if (training) {
      (isHalf ? batchStatistics<Half> : batchStatistics<float>)(x, momentum, epsilon, mu, inverse, running, runningVar);
    } else {
      for (int64_t c = 0; c < channels; c++) {
        mu[c] = running[c];
        inverse[c] = 1 / std::sqrt(double(runningVar[c]) + epsilon);
      }
    }
    const float *gamma = elements<float>(weight), *beta = elements<float>(bias);
    std::vector<float> scale(channels), shift(channels);
    for (int64_t c = 0; c < channels; c++) {
      scale[c] = gamma[c] * inverse[c];
      shift[c] = beta[c] - mu[c] * scale[c];
    }
    Tensor y = (isHalf ? normalise<Half> : normalise<float>)(x, residual, scale, shift, relu);
    context->save_for_backward({x, weight, bias, mean, deviation, relu && added ? y : Tensor()});
    context->saved_data["training"] = training;
    context->saved_data["relu"] = relu;
    context->saved_data["residual"] = added.has_value();
    return y;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list incoming) {
    const auto saved = context->get_saved_variables();
    const Tensor& x = saved[0];
    Tensor dy = inRows(incoming[0]);
    if (dy.scalar_type() != x.scalar_type()) dy = dy.to(x.scalar_type());
    auto result = (x.scalar_type() == at::kBFloat16 ? gradients<Half> : gradients<float>)(
        x, saved[5], dy, saved[1], saved[2], saved[3], saved[4], context->saved_data["training"].toBool(),
        context->saved_data["relu"].toBool(), context->saved_data["residual"].toBool(), context->needs_input_grad(0));
    const Tensor none;
    return {result[0], result[1], result[2], none, none, result[3], none, none, none, none};
  }
};

Tensor batchNormRelu(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& mean,
                     const Tensor& variance, const MaybeTensor& residual, bool training, double momentum,
                     double epsilon, bool relu) {
  const Tensor added = residual ? *residual : Tensor();
  if (isOurs(x, {&weight, &bias, &mean, &variance}, added)) {
    return BatchNormRelu::apply(x, weight, bias, mean, variance, residual, training, momentum, epsilon, relu);
  }
  Tensor y = at::batch_norm(x, weight, bias, mean, variance, training, momentum, epsilon, true);
  if (added.defined()) y = y + added;
  return relu ? at::relu(y) : y;
}

}  // namespace

TORCH_LIBRARY(s2hpruner, library) {
  library.def(
      "batch_norm_relu(Tensor x, Tensor weight, Tensor bias, Tensor mean, Tensor variance, Tensor? residual, "
      "bool training, float momentum, float eps, bool relu) -> Tensor",
      batchNormRelu);
}
