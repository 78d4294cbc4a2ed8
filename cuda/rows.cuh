// Norms, softmax and cross-entropy: a block of 256 threads a row of D elements.
template <class T> __device__ inline void norm(const T *x, const float *gamma, const float *beta, T *y, float *mean, float *rstd, u64 D, float eps, bool rms) {
  u64 r = blockIdx.x;
  x += r * D, y += r * D;
  Sum<float> s;
  float m = 0;
  if (!rms) {
    for (u64 i = threadIdx.x; i < D; i += 256) s.add(load(x[i]), i);
    m = share_block<Sum<float>, 256>(s).x / D;
  }
  Sum<float> q;
  for (u64 i = threadIdx.x; i < D; i += 256) { float d = load(x[i]) - m; q.add(d * d, i); }
  float k = rsqrtf(share_block<Sum<float>, 256>(q).x / D + eps);
  for (u64 i = threadIdx.x; i < D; i += 256) {
    float v = (load(x[i]) - m) * k;
    if (gamma) v *= gamma[i];
    if (beta) v += beta[i];
    store(y[i], v);
  }
  if (threadIdx.x == 0) { if (mean) mean[r] = m; rstd[r] = k; }
}

template <class T> __device__ inline void norm_grad_x(const T *dy, const T *x, const float *gamma, const float *mean, const float *rstd, T *dx, u64 D, bool rms) {
  u64 r = blockIdx.x;
  dy += r * D, x += r * D, dx += r * D;
  float m = rms ? 0 : mean[r], k = rstd[r];
  Sum<float> a, b;
  for (u64 i = threadIdx.x; i < D; i += 256) {
    float d = load(dy[i]) * (gamma ? gamma[i] : 1.f);
    a.add(d, i), b.add(d * (load(x[i]) - m) * k, i);
  }
  float sa = rms ? 0 : share_block<Sum<float>, 256>(a).x / D;
  float sb = share_block<Sum<float>, 256>(b).x / D;
  for (u64 i = threadIdx.x; i < D; i += 256) {
    float d = load(dy[i]) * (gamma ? gamma[i] : 1.f);
    store(dx[i], k * (d - sa - (load(x[i]) - m) * k * sb));
  }
}
// Partial sums over rowsPerPart rows: 32 columns by 8 rows of threads a block; grid (columns, parts).
template <class T> __device__ inline void norm_grad_parameters(const T *dy, const T *x, const float *mean, const float *rstd, float *dgamma, float *dbeta, u64 R, u64 D, u64 rowsPerPart, bool rms) {
  __shared__ float parts[2][8][33];
  u64 i = blockIdx.x * 32ull + threadIdx.x % 32, lane = threadIdx.x / 32, end = min(R, (blockIdx.y + 1) * rowsPerPart);
  float g = 0, b = 0;
  if (i < D) for (u64 r = blockIdx.y * rowsPerPart + lane; r < end; r += 8) {
    float d = load(dy[r * D + i]);
    g += d * (load(x[r * D + i]) - (rms ? 0 : mean[r])) * rstd[r], b += d;
  }
  parts[0][lane][threadIdx.x % 32] = g, parts[1][lane][threadIdx.x % 32] = b;
  __syncthreads();
  if (lane == 0 && i < D) {
    for (int w = 1; w < 8; w++) g += parts[0][w][threadIdx.x % 32], b += parts[1][w][threadIdx.x % 32];
    if (dgamma) dgamma[blockIdx.y * D + i] = g;
    if (dbeta) dbeta[blockIdx.y * D + i] = b;
  }
}

// max and sum(exp(x - max)) of a row; a row of all -inf counts as max 0.
template <class T> __device__ inline void row_lse(const T *x, u64 D, float &top, float &sum) {
  Max<float> m;
  for (u64 i = threadIdx.x; i < D; i += 256) m.add(load(x[i]), i);
  top = share_block<Max<float>, 256>(m).x;
  if (top == __int_as_float(0xff800000)) top = 0;
  Sum<float> s;
  for (u64 i = threadIdx.x; i < D; i += 256) s.add(expf(load(x[i]) - top), i);
  sum = share_block<Sum<float>, 256>(s).x;
}
template <class T> __device__ inline void softmax(const T *x, T *y, u64 D) {
  x += blockIdx.x * D, y += blockIdx.x * D;
  float top, sum;
  row_lse(x, D, top, sum);
  float k = sum > 0 || sum != sum ? 1 / sum : 0;
  for (u64 i = threadIdx.x; i < D; i += 256) store(y[i], expf(load(x[i]) - top) * k);
}
template <class T> __device__ inline void softmax_grad(const T *dy, const T *y, T *dx, u64 D) {
  dy += blockIdx.x * D, y += blockIdx.x * D, dx += blockIdx.x * D;
  Sum<float> s;
  for (u64 i = threadIdx.x; i < D; i += 256) s.add(load(dy[i]) * load(y[i]), i);
  float dot = share_block<Sum<float>, 256>(s).x;
  for (u64 i = threadIdx.x; i < D; i += 256) store(dx[i], load(y[i]) * (load(dy[i]) - dot));
}
template <class T, class L> __device__ inline void cross_entropy(const T *x, const L *labels, float *loss, float *lse, u64 D) {
  u64 r = blockIdx.x;
  x += r * D;
  float top, sum;
  row_lse(x, D, top, sum);
  if (threadIdx.x) return;
  float l = logf(sum) + top;
  long long y = load(labels[r]);
  lse[r] = l;
  loss[r] = y < 0 || y >= (long long)D ? 0 : l - load(x[y]);
}
template <class T, class L> __device__ inline void cross_entropy_grad(const T *x, const L *labels, const float *lse, const float *g, T *dx, u64 D) {
  u64 r = blockIdx.x;
  x += r * D, dx += r * D;
  long long y = load(labels[r]);
  float k = y < 0 || y >= (long long)D ? 0 : g[r], l = lse[r];
  for (u64 i = threadIdx.x; i < D; i += 256) store(dx[i], k == 0 ? 0.f : (expf(load(x[i]) - l) - (i == (u64)y)) * k);
}
