// Plans of constant matrix-vector products. hw/kernels/constant_matrix/planner.py states what it computes.
#include "array.hpp"
#include <algorithm>
#include <cstring>
#include <queue>
#include <vector>

namespace {

// value = sign * source << shift
struct Term {
    int32_t source;
    int16_t shift, sign;
    bool operator<(const Term &o) const {
        return source != o.source ? source < o.source : shift != o.shift ? shift < o.shift : sign < o.sign;
    }
};

using Terms = std::vector<Term>;

struct Interval {
    int64_t low, high;
    Interval times(const Term &t) const {
        const int64_t scale = int64_t(t.sign) * (int64_t(1) << t.shift);
        return t.sign > 0 ? Interval{low * scale, high * scale} : Interval{high * scale, low * scale};
    }
    Interval operator+(const Interval &o) const { return {low + o.low, high + o.high}; }
};

int bits(uint64_t value) { return value ? 64 - __builtin_clzll(value) : 0; }

// Bits of the shortest unsigned or two's complement number that holds the interval.
int width(const Interval &i) {
    if (i.low >= 0) return bits(i.high);
    return 1 + std::max(i.high > 0 ? bits(i.high) : 0, bits(-i.low - 1));
}

// What an adder costs. hw/kernels/constant_matrix/adders.py has the same formulas, and says where they come from.
struct Fabric {
    int64_t arity;      // operands of an adder: 2, or 3
    int64_t chain_bits; // bits of one cell of the carry chain
    int64_t feed;       // lookup tables that place and route adds to a carry chain
};

struct Operand {
    Interval range; // of the value without shift and sign
    int shift, sign;
};

constexpr int SHORT_ADDERS[] = {0, 1, 2, 3, 5, 7}; // tables of an adder of so many bits without a carry chain

// Lookup tables of the sum of `count` operands, whose value is in `result`.
int64_t adder_cost(const Fabric &fabric, const Operand *operands, int count, const Interval &result) {
    int first = 1 << 20, second = 1 << 20, lowest = 0, end = 0, minus = 0, ends[3];
    for (int i = 0; i < count; ++i) {
        const Operand &o = operands[i];
        if (o.shift < first) second = first, first = o.shift, lowest = i;
        else second = std::min(second, o.shift);
        ends[i] = o.shift + width(o.range);
        end = std::max(end, ends[i]);
        minus += o.sign < 0;
    }
    const Operand &low = operands[lowest];
    const int begin = low.sign > 0 ? second : first, whole = width(result);
    if (count == 2 && !minus && low.range.low >= 0 && ends[lowest] <= second) return 0; // side by side
    if (fabric.chain_bits > 1) {
        const int chain = std::max(1, whole - begin);
        if (chain <= 5) return SHORT_ADDERS[chain];
        return (chain + fabric.chain_bits - 1) / fabric.chain_bits * fabric.chain_bits + fabric.feed;
    }
    int64_t cost = 0;
    bool majority = minus > 0; // whether the majority of the bit below varies, or is 1
    for (int k = begin; k < whole; ++k) {
        int varying = 0, inverted = 0, signs = 0;
        for (int i = 0; i < count; ++i) {
            const Operand &o = operands[i];
            const bool varies = k >= o.shift && (k < ends[i] || o.range.low < 0);
            varying += varies;
            signs += varies && k >= ends[i];
            inverted += o.sign < 0;
        }
        if (count == 2) {
            if (varying && signs == varying) break; // as the bit below
            cost += varying == 2 || (varying == 1 && inverted == 1);
        } else {
            cost += varying > 1 || (varying == 1 && majority);
            majority = varying > 1 || (varying == 1 && inverted == 1);
            if (!varying) break;
        }
    }
    if (count == 2 && minus) cost += low.sign > 0 || first == second; // the lowest bit is made twice
    if (minus == 2) cost += 2;
    return cost;
}

// ---- Common subexpressions of two terms ----

// The pattern a + sign * (b << shift), a <= b; shift may be negative.
struct Pattern {
    int32_t a, b;
    int shift, sign;
};

uint64_t key_of(const Term &p, const Term &q) {
    const Term &a = p < q ? p : q, &b = p < q ? q : p;
    return uint64_t(a.source) << 40 | uint64_t(b.source) << 16 | uint64_t(b.shift - a.shift + 128) << 1 | (a.sign != b.sign);
}

Pattern pattern_of(uint64_t key) {
    return {int32_t(key >> 40), int32_t(key >> 16 & 0xffffff), int(key >> 1 & 0x7fff) - 128, key & 1 ? -1 : 1};
}

// Occurrences by pattern: an open hash table whose entries are never removed.
class Counts {
  public:
    int32_t &operator[](uint64_t key) {
        if (2 * (used + 1) > keys.size()) grow();
        size_t i = place(key);
        if (keys[i] != key) keys[i] = key, values[i] = 0, ++used;
        return values[i];
    }
    template <class F> void each(F f) const {
        for (size_t i = 0; i < keys.size(); ++i)
            if (keys[i] != EMPTY) f(keys[i], values[i]);
    }

  private:
    static constexpr uint64_t EMPTY = ~uint64_t(0);
    std::vector<uint64_t> keys = std::vector<uint64_t>(1024, EMPTY);
    std::vector<int32_t> values = std::vector<int32_t>(1024);
    size_t used = 0;

    size_t place(uint64_t key) const {
        const size_t mask = keys.size() - 1;
        size_t i = (key * 0x9e3779b97f4a7c15ull >> 20) & mask;
        while (keys[i] != key && keys[i] != EMPTY) i = (i + 1) & mask;
        return i;
    }
    void grow() {
        std::vector<uint64_t> old_keys(keys.size() * 2, EMPTY);
        std::vector<int32_t> old_values(values.size() * 2);
        keys.swap(old_keys), values.swap(old_values);
        for (size_t i = 0; i < old_keys.size(); ++i)
            if (old_keys[i] != EMPTY) {
                const size_t j = place(old_keys[i]);
                keys[j] = old_keys[i], values[j] = old_values[i];
            }
    }
};

// How greedy search values a pattern, and where it stops.
struct Preference {
    double per_bit, per_term; // what an occurrence saves: per_bit * (bits of the pattern's adder) + per_term
    double noise;             // relative
    uint64_t seed;
    int64_t chain; // rows that are sums of another row and a difference, one behind the other, at most; 0: none
};

// A value that is a sum of terms: an output's, or one that several sums read. Sources count inputs first, then targets.
struct Target {
    Terms terms;
    Interval range{0, 0};
    bool output = false;
};

struct Problem {
    Fabric fabric;
    int64_t inputs;
    Interval input;
    int64_t max_depth;
    int64_t power(int64_t level) const {
        int64_t value = 1;
        while (level-- > 0 && value < (int64_t(1) << 40)) value *= fabric.arity;
        return value;
    }
};

using Form = std::vector<std::pair<int32_t, int64_t>>; // (input, coefficient), ascending

Form merged(const Form &a, int64_t scale_a, const Form &b, int64_t scale_b) {
    Form result;
    size_t i = 0, j = 0;
    while (i < a.size() || j < b.size()) {
        const int32_t next = std::min(i < a.size() ? a[i].first : INT32_MAX, j < b.size() ? b[j].first : INT32_MAX);
        int64_t value = 0;
        if (i < a.size() && a[i].first == next) value += scale_a * a[i++].second;
        if (j < b.size() && b[j].first == next) value += scale_b * b[j++].second;
        if (value) result.push_back({next, value});
    }
    return result;
}

Interval range_of(const Form &form, const Interval &input) {
    Interval sum{0, 0};
    for (const auto &[_, c] : form)
        sum = sum + (c > 0 ? Interval{c * input.low, c * input.high} : Interval{c * input.high, c * input.low});
    return sum;
}

int64_t scale_of(const Term &t) { return int64_t(t.sign) * (int64_t(1) << t.shift); }

class Subexpressions {
  public:
    // Rows may have terms of other rows; the sources are the inputs, the rows, whose values are `values`, and subexpressions.
    Subexpressions(const Problem &problem, std::vector<Terms> rows, const std::vector<Form> &values, const Preference &preference)
        : problem(problem), preference(preference), rows(std::move(rows)) {
        for (int32_t i = 0; i < problem.inputs; ++i) forms.push_back({{i, 1}});
        forms.insert(forms.end(), values.begin(), values.end());
        for (const Form &form : forms) ranges.push_back(range_of(form, problem.input));
        levels.assign(forms.size(), 0);
        users.resize(forms.size());
        for (size_t r = 0; r < this->rows.size(); ++r)
            for (const Term &t : this->rows[r]) use(t.source, r);
    }

    // The targets: first the rows, then the subexpressions.
    std::vector<Target> solve() {
        for (const Terms &row : rows)
            for (size_t i = 0; i < row.size(); ++i)
                for (size_t j = 0; j < i; ++j) ++counts[key_of(row[i], row[j])];
        counts.each([&](uint64_t key, int32_t) { push(key); });
        while (!heap.empty()) {
            const auto [score, inverse] = heap.top();
            heap.pop();
            const double now = score_of(~inverse);
            if (now <= 0) continue;
            if (now < score) heap.push({now, inverse});
            else substitute(~inverse);
        }
        std::vector<Target> targets;
        for (const Terms &row : rows) targets.push_back({row, {0, 0}, true});
        for (const Terms &terms : made) targets.push_back({terms});
        return targets;
    }

  private:
    const Problem &problem;
    const Preference &preference;
    std::vector<Terms> rows, made;
    std::vector<Form> forms;
    std::vector<Interval> ranges;
    std::vector<int> levels;
    std::vector<std::vector<int32_t>> users; // by source the rows that may use it
    Counts counts;
    std::priority_queue<std::pair<double, uint64_t>> heap; // (score, ~pattern)

    void use(int32_t source, int32_t row) {
        if (users[source].empty() || users[source].back() != row) users[source].push_back(row);
    }

    double score_of(uint64_t key) {
        const int32_t count = counts[key];
        if (count < 2) return 0;
        const Pattern p = pattern_of(key);
        const int low = std::min(p.shift, 0);
        const Operand operands[] = {{ranges[p.a], -low, 1}, {ranges[p.b], p.shift - low, p.sign}};
        const Interval sum = ranges[p.a].times({0, int16_t(-low), 1}) + ranges[p.b].times({0, int16_t(p.shift - low), int16_t(p.sign)});
        const double cost = double(adder_cost(problem.fabric, operands, 2, sum));
        double score = count * (preference.per_bit * cost + preference.per_term) - cost;
        if (preference.noise > 0) {
            uint64_t h = (key ^ preference.seed) * 0x9e3779b97f4a7c15ull;
            h = (h ^ h >> 29) * 0xbf58476d1ce4e5b9ull;
            score *= 1 + preference.noise * double(h >> 40) / double(1 << 24);
        }
        return score;
    }

    void push(uint64_t key) {
        const double score = score_of(key);
        if (score > 0) heap.push({score, ~key});
    }

    // Whether the row still has a tree of at most max_depth levels after the substitution.
    bool fits(const Terms &row, const Term &p, const Term &q, int level) const {
        int64_t sum = problem.power(level) - problem.power(levels[p.source]) - problem.power(levels[q.source]);
        for (const Term &t : row) sum += problem.power(levels[t.source]);
        return sum <= problem.power(problem.max_depth);
    }

    void substitute(uint64_t key) {
        const Pattern p = pattern_of(key);
        const int32_t made_source = forms.size();
        const int level = std::max(levels[p.a], levels[p.b]) + 1;
        const std::vector<int32_t> &fewer = users[p.a].size() < users[p.b].size() ? users[p.a] : users[p.b];
        std::vector<std::pair<int32_t, std::pair<Term, Term>>> found;
        for (int32_t r : fewer) {
            std::vector<Term> as, bs;
            for (const Term &t : rows[r]) {
                if (t.source == p.a) as.push_back(t);
                if (t.source == p.b) bs.push_back(t);
            }
            std::sort(as.begin(), as.end());
            std::vector<Term> used;
            auto is_used = [&](const Term &t) {
                return std::any_of(used.begin(), used.end(), [&](const Term &u) { return u.source == t.source && u.shift == t.shift; });
            };
            for (const Term &a : as)
                for (const Term &b : bs)
                    if (b.shift - a.shift == p.shift && (a.sign == b.sign) == (p.sign > 0) && !is_used(a) && !is_used(b) &&
                        (problem.max_depth <= 0 || fits(rows[r], a, b, level))) {
                        used.push_back(a), used.push_back(b);
                        found.push_back({r, {a, b}});
                    }
        }
        if (found.size() < 2 || (problem.max_depth > 0 && level > problem.max_depth)) {
            counts[key] = 0; // overlapping occurrences, or too deep
            return;
        }
        const int low = std::min(p.shift, 0);
        const Terms sum = {{p.a, int16_t(-low), 1}, {p.b, int16_t(p.shift - low), int16_t(p.sign)}};
        made.push_back(sum);
        forms.push_back(merged(forms[p.a], scale_of(sum[0]), forms[p.b], scale_of(sum[1])));
        ranges.push_back(range_of(forms.back(), problem.input));
        levels.push_back(level);
        users.emplace_back();
        std::vector<uint64_t> risen;
        for (const auto &[r, pair] : found) {
            // Other occurrences in the row may have used up its depth.
            if (problem.max_depth > 0 && !fits(rows[r], pair.first, pair.second, level)) continue;
            remove(r, pair.first), remove(r, pair.second);
            const Term t{made_source, int16_t(pair.first.shift + low), pair.first.sign};
            for (const Term &o : rows[r]) {
                const uint64_t k = key_of(o, t);
                if (++counts[k] == 2) risen.push_back(k);
            }
            rows[r].push_back(t);
            use(made_source, r);
        }
        for (uint64_t k : risen) push(k);
    }

    void remove(int32_t r, const Term &t) {
        Terms &row = rows[r];
        for (size_t i = 0; i < row.size(); ++i)
            if (row[i].source == t.source && row[i].shift == t.shift) {
                row[i] = row.back();
                row.pop_back();
                break;
            }
        for (const Term &o : row) --counts[key_of(o, t)];
    }
};

// ---- Rows as sums of another row and a difference ----

int digits_of(int64_t value) {
    const uint64_t size = value < 0 ? -value : value;
    return __builtin_popcountll(size ^ 3 * size);
}

void append_digits(Terms &terms, int32_t source, int64_t value);

// The terms of each row. A tree grows over the rows (Prim): a row joins below the row from which it differs in the fewest
// digits, or below none. At most `chain` rows are in series.
std::vector<Terms> decomposed(const std::vector<std::vector<int64_t>> &rows, int64_t inputs, int64_t chain) {
    const size_t count = rows.size();
    std::vector<int> best(count), parent(count, -1), shift(count), sign(count, 1), depth(count);
    std::vector<char> joined(count);
    std::vector<Terms> result(count);
    for (size_t r = 0; r < count; ++r)
        for (int64_t v : rows[r]) best[r] += digits_of(v);
    for (size_t step = 0; step < count; ++step) {
        size_t next = count;
        for (size_t r = 0; r < count; ++r)
            if (!joined[r] && (next == count || best[r] < best[next])) next = r;
        joined[next] = 1;
        const int p = parent[next];
        if (p >= 0) {
            depth[next] = depth[p] + 1;
            result[next].push_back({int32_t(inputs + p), int16_t(shift[next]), int16_t(sign[next])});
        }
        for (int64_t c = 0; c < inputs; ++c)
            append_digits(result[next], c, rows[next][c] - (p < 0 ? 0 : sign[next] * (rows[p][c] << shift[next])));
        if (depth[next] >= chain) continue;
        for (size_t r = 0; r < count; ++r)
            for (int s = 0; !joined[r] && s < 3; ++s)
                for (int g : {1, -1}) {
                    int size = 1;
                    for (int64_t c = 0; c < inputs && size < best[r]; ++c) size += digits_of(rows[r][c] - g * (rows[next][c] << s));
                    if (size < best[r]) best[r] = size, parent[r] = next, shift[r] = s, sign[r] = g;
                }
    }
    return result;
}

// ---- Trees of adders ----

// Canonical signed digits of `value`, ascending.
void append_digits(Terms &terms, int32_t source, int64_t value) {
    for (int16_t shift = 0; value; ++shift, value >>= 1)
        if (value & 1) {
            const int16_t digit = 2 - (value & 3);
            terms.push_back({source, shift, digit});
            value -= digit;
        }
}

// The same sum with the least number of terms of each source.
Terms simplified(Terms terms) {
    std::sort(terms.begin(), terms.end());
    Terms result;
    for (size_t i = 0; i < terms.size();) {
        int64_t value = 0;
        size_t j = i;
        for (; j < terms.size() && terms[j].source == terms[i].source; ++j) value += scale_of(terms[j]);
        append_digits(result, terms[i].source, value);
        i = j;
    }
    return result;
}

// A value on the way to the sum of a target.
struct Node {
    Term term;
    Interval range; // of the source
    int level, bits;
    int end() const { return term.shift + bits; }
};

struct Sum {
    int count;
    Term terms[3];
};

class Trees {
  public:
    Trees(const Problem &problem, std::vector<Target> given) : problem(problem), targets(std::move(given)) {
        const size_t sources = problem.inputs + targets.size();
        forms.resize(sources);
        ranges.assign(sources, problem.input);
        for (int32_t i = 0; i < problem.inputs; ++i) forms[i] = {{i, 1}};
        for (size_t t : order()) {
            targets[t].terms = simplified(targets[t].terms);
            Form &form = forms[problem.inputs + t];
            for (const Term &term : targets[t].terms) form = merged(form, 1, forms[term.source], scale_of(term));
            ranges[problem.inputs + t] = range_of(form, problem.input);
        }
        index();
        levels.assign(sources, 0);
        for (size_t t : order()) levels[problem.inputs + t] = least_level(targets[t].terms);
        costs.resize(targets.size());
        for (size_t t = 0; t < targets.size(); ++t) costs[t] = cost_of(targets[t]);
    }

    int64_t cost() const {
        int64_t sum = 0;
        for (size_t t = 0; t < targets.size(); ++t)
            if (targets[t].output || !readers[t].empty()) sum += costs[t];
        return sum;
    }

    // Puts the terms of a shared target into its readers wherever that is cheaper.
    void dissolve() {
        bool changed = true;
        while (changed) {
            changed = false;
            for (size_t t = 0; t < targets.size(); ++t)
                if (!targets[t].output && !readers[t].empty()) changed |= try_dissolve(t);
        }
    }

    // The sums in topological order, and the term of each target.
    void build(std::vector<Sum> &sums, std::vector<Term> &results) {
        std::vector<Node> values(problem.inputs + targets.size());
        for (int32_t i = 0; i < problem.inputs; ++i) values[i] = {{i, 0, 1}, problem.input, 0, width(problem.input)};
        final_forms.assign(forms.begin(), forms.begin() + problem.inputs);
        results.assign(targets.size(), {-1, 0, 1});
        for (size_t t : order()) {
            const Target &target = targets[t];
            if ((!target.output && readers[t].empty()) || target.terms.empty()) continue;
            std::vector<Node> nodes;
            for (const Term &term : target.terms) {
                Node node = values[term.source];
                node.term.shift += term.shift;
                node.term.sign *= term.sign;
                nodes.push_back(node);
            }
            int64_t total = 0;
            const Node node = reduce(nodes, target.output, deadline(t), total, &sums);
            values[problem.inputs + t] = node;
            results[t] = node.term;
        }
    }

  private:
    const Problem &problem;
    std::vector<Target> targets;
    std::vector<Form> forms, final_forms;
    std::vector<Interval> ranges;
    std::vector<int> levels;
    std::vector<int64_t> costs;
    std::vector<std::vector<int32_t>> readers;

    std::vector<size_t> order() const {
        std::vector<size_t> result;
        std::vector<char> seen(targets.size());
        std::vector<std::pair<size_t, size_t>> stack;
        for (size_t root = 0; root < targets.size(); ++root) {
            if (seen[root]) continue;
            seen[root] = 1;
            stack.push_back({root, 0});
            while (!stack.empty()) {
                auto &[t, next] = stack.back();
                if (next == targets[t].terms.size()) {
                    result.push_back(t);
                    stack.pop_back();
                    continue;
                }
                const int32_t source = targets[t].terms[next++].source;
                if (source >= problem.inputs && !seen[source - problem.inputs]) {
                    seen[source - problem.inputs] = 1;
                    stack.push_back({size_t(source - problem.inputs), 0});
                }
            }
        }
        return result;
    }

    void index() {
        readers.assign(targets.size(), {});
        for (size_t t = 0; t < targets.size(); ++t)
            for (const Term &term : targets[t].terms)
                if (term.source >= problem.inputs) {
                    auto &list = readers[term.source - problem.inputs];
                    if (list.empty() || list.back() != int32_t(t)) list.push_back(t);
                }
    }

    int least_level(const Terms &terms) const {
        int base = 0; // Powers are limited: only the upper levels count exactly.
        for (const Term &term : terms) base = std::max(base, levels[term.source] - 16);
        int64_t sum = 0;
        for (const Term &term : terms) sum += problem.power(std::max(0, levels[term.source] - base));
        int level = 0;
        while (problem.power(level) < sum) ++level;
        return base + level;
    }

    int deadline(size_t t) const {
        if (problem.max_depth <= 0) return 0;
        return targets[t].output ? std::max<int>(problem.max_depth, levels[problem.inputs + t]) : levels[problem.inputs + t];
    }

    int64_t cost_of(const Target &target) const {
        std::vector<Node> nodes;
        for (const Term &term : target.terms) nodes.push_back({term, ranges[term.source], levels[term.source], width(ranges[term.source])});
        int64_t total = 0;
        if (nodes.empty()) return 0;
        const Node node = const_cast<Trees *>(this)->reduce(nodes, target.output, 0, total, nullptr);
        if (target.output && node.term.sign < 0) total += width(node.range);
        return total;
    }

    bool try_dissolve(size_t t) {
        const int32_t source = problem.inputs + t;
        if (!promising(t)) return false;
        int64_t gain = costs[t];
        std::vector<Terms> news;
        std::vector<int64_t> new_costs;
        for (int32_t r : readers[t]) {
            Target reader{{}, {0, 0}, targets[r].output};
            for (const Term &term : targets[r].terms)
                if (term.source != source) reader.terms.push_back(term);
                else
                    for (const Term &part : targets[t].terms)
                        reader.terms.push_back({part.source, int16_t(part.shift + term.shift), int16_t(part.sign * term.sign)});
            reader.terms = simplified(reader.terms);
            news.push_back(reader.terms);
            new_costs.push_back(cost_of(reader));
            gain += costs[r] - new_costs.back();
        }
        if (gain < 0 || (gain == 0 && readers[t].size() > 1)) return false;
        const std::vector<int32_t> changed = readers[t];
        for (size_t i = 0; i < changed.size(); ++i) {
            const int32_t r = changed[i];
            const Terms before = std::move(targets[r].terms);
            targets[r].terms = news[i];
            costs[r] = new_costs[i];
            for (const Term &term : news[i])
                if (term.source >= problem.inputs) {
                    auto &list = readers[term.source - problem.inputs];
                    if (std::find(list.begin(), list.end(), r) == list.end()) list.push_back(r);
                }
            for (const Term &term : before)
                if (std::none_of(news[i].begin(), news[i].end(), [&](const Term &n) { return n.source == term.source; }))
                    forget(term.source, r);
        }
        return true;
    }

    // Whether it may pay to dissolve a target, by the mean cost of a term of its readers.
    bool promising(size_t t) const {
        double more = 0;
        for (int32_t r : readers[t])
            more += double(costs[r]) / std::max<size_t>(1, targets[r].terms.size() - 1) * (targets[t].terms.size() - 1);
        return 0.6 * more <= costs[t];
    }

    void forget(int32_t source, int32_t reader) {
        if (source < problem.inputs) return;
        auto &list = readers[source - problem.inputs];
        list.erase(std::remove(list.begin(), list.end(), reader), list.end());
        if (list.empty() && !targets[source - problem.inputs].output) {
            for (const Term &term : targets[source - problem.inputs].terms) forget(term.source, source - problem.inputs);
            targets[source - problem.inputs].terms.clear();
            costs[source - problem.inputs] = 0;
        }
    }

    // One adder. With `free_sign` the sum may be the negative of what is asked.
    Node join(const Node *const *parts, int count, bool free_sign, int64_t &cost, std::vector<Sum> *sums) {
        int low = 1 << 20, negative = 0;
        for (int i = 0; i < count; ++i) low = std::min<int>(low, parts[i]->term.shift), negative += parts[i]->term.sign < 0;
        auto evaluate = [&](int flip, Interval &range) {
            Operand operands[3] = {};
            range = {0, 0};
            for (int i = 0; i < count; ++i) {
                const Term &t = parts[i]->term;
                operands[i] = {parts[i]->range, t.shift - low, t.sign * flip};
                range = range + parts[i]->range.times({0, int16_t(t.shift - low), int16_t(t.sign * flip)});
            }
            return adder_cost(problem.fabric, operands, count, range);
        };
        int flip = negative == count ? -1 : 1;
        Interval range;
        cost = evaluate(flip, range);
        if (free_sign && negative && negative < count) {
            Interval other;
            const int64_t flipped = evaluate(-1, other);
            if (flipped < cost) cost = flipped, range = other, flip = -1;
        }
        int level = 0;
        for (int i = 0; i < count; ++i) level = std::max(level, parts[i]->level);
        Node node{{-1, int16_t(low), int16_t(flip)}, range, level + 1, width(range)};
        if (sums) {
            Sum sum{count, {}};
            Form form;
            for (int i = 0; i < count; ++i) {
                const Term &t = parts[i]->term;
                sum.terms[i] = {t.source, int16_t(t.shift - low), int16_t(t.sign * flip)};
                form = merged(form, 1, final_forms[t.source], scale_of(sum.terms[i]));
            }
            node.term.source = problem.inputs + sums->size();
            sums->push_back(sum);
            node.range = range_of(form, problem.input);
            node.bits = width(node.range);
            final_forms.push_back(std::move(form));
        }
        return node;
    }

    // The sum of all nodes by adders; greedy: the cheapest adder next. `limit`: its level at most, 0 for any.
    Node reduce(std::vector<Node> &nodes, bool output, int limit, int64_t &total, std::vector<Sum> *sums) {
        std::vector<int> partner(nodes.size(), -1);
        std::vector<double> best(nodes.size());
        // About the cost of adding two nodes; of equal ones, the shallow ones and those of low bits come first.
        auto value = [&](size_t i, size_t j) {
            const Node &a = nodes[i], &b = nodes[j];
            const int begin = std::max(a.term.shift, b.term.shift);
            const Node &low = a.term.shift < b.term.shift ? a : b;
            int chain = std::max(a.end(), b.end()) - begin;
            if (low.end() <= begin && low.range.low >= 0 && a.term.sign == b.term.sign) chain = 0;
            return chain + 0.1 * std::max(a.level, b.level) + 0.01 * (a.term.shift + b.term.shift);
        };
        auto seek = [&](size_t i) {
            partner[i] = -1;
            for (size_t j = 0; j < nodes.size(); ++j) {
                if (j == i) continue;
                const double v = value(i, j);
                if (partner[i] < 0 || v < best[i]) best[i] = v, partner[i] = j;
            }
        };
        for (size_t i = 0; nodes.size() > 2 && i < nodes.size(); ++i) seek(i);
        while (nodes.size() > 1) {
            const size_t n = nodes.size();
            size_t chosen[3] = {0, 1, 2};
            int count = 2;
            if (n == 3 && problem.fabric.arity == 3) count = 3;
            if (n > size_t(count)) {
                size_t i = 0;
                for (size_t k = 1; k < n; ++k)
                    if (best[k] < best[i]) i = k;
                chosen[0] = i, chosen[1] = partner[i];
                if (problem.fabric.arity == 3 && n % 2 == 1 && best[i] >= 1) {
                    double least = 1e18;
                    count = 3;
                    for (size_t k = 0; k < n; ++k) {
                        if (k == chosen[0] || k == chosen[1]) continue;
                        int64_t cost;
                        const Node *parts[] = {&nodes[chosen[0]], &nodes[chosen[1]], &nodes[k]};
                        const Node sum = join(parts, 3, true, cost, nullptr);
                        const double v = double(cost) + 0.1 * sum.level + 0.01 * nodes[k].term.shift;
                        if (v < least) least = v, chosen[2] = k;
                    }
                }
            }
            if (limit > 0 && !allowed(nodes, chosen, count, limit)) {
                std::vector<size_t> by_level(n);
                for (size_t k = 0; k < n; ++k) by_level[k] = k;
                std::sort(by_level.begin(), by_level.end(), [&](size_t a, size_t b) {
                    return std::make_pair(nodes[a].level, a) < std::make_pair(nodes[b].level, b);
                });
                count = std::min<int>(n, problem.fabric.arity == 3 && n % 2 == 1 ? 3 : 2);
                for (int k = 0; k < count; ++k) chosen[k] = by_level[k];
            }
            const Node *parts[3];
            for (int k = 0; k < count; ++k) parts[k] = &nodes[chosen[k]];
            int64_t cost;
            Node sum = join(parts, count, !(output && int(n) == count), cost, sums);
            total += cost;
            if (count == 2) chosen[2] = n;
            std::sort(chosen, chosen + 3);
            // The sum replaces its first operand; the last nodes move into the places of the others.
            const size_t kept = chosen[0];
            nodes[kept] = sum;
            std::vector<char> stale(n);
            stale[kept] = 1;
            std::vector<int> moved(n);
            for (size_t k = 0; k < n; ++k) moved[k] = k;
            for (int k = count - 1; k > 0; --k) {
                const size_t gone = chosen[k], last = nodes.size() - 1;
                nodes[gone] = nodes[last];
                moved[gone] = -1;
                if (gone != last) {
                    for (size_t m = 0; m < n; ++m)
                        if (moved[m] == int(last)) moved[m] = gone;
                    partner[gone] = partner[last], best[gone] = best[last], stale[gone] = stale[last];
                }
                nodes.pop_back(), partner.pop_back(), best.pop_back(), stale.pop_back();
            }
            if (nodes.size() <= 2) continue;
            for (size_t k = 0; k < nodes.size(); ++k) {
                const int p = partner[k];
                const bool lost = stale[k] || p < 0 || moved[p] < 0 || size_t(moved[p]) == kept || p == int(kept);
                if (lost) seek(k);
                else {
                    partner[k] = moved[p];
                    const double v = value(k, kept);
                    if (v < best[k]) best[k] = v, partner[k] = kept;
                }
            }
        }
        return nodes[0];
    }

    bool allowed(const std::vector<Node> &nodes, const size_t *chosen, int count, int limit) const {
        int64_t sum = 0;
        int level = 0;
        for (const Node &node : nodes) sum += problem.power(node.level);
        for (int k = 0; k < count; ++k) {
            level = std::max(level, nodes[chosen[k]].level);
            sum -= problem.power(nodes[chosen[k]].level);
        }
        return sum + problem.power(level + 1) <= problem.power(limit);
    }
};

constexpr int64_t DEPTH_PERIOD = 100; // a level more must save one table in so many

int64_t depth_of(const std::vector<Sum> &sums, int64_t inputs) {
    std::vector<int64_t> levels(inputs);
    for (const Sum &sum : sums) {
        int64_t level = 0;
        for (int k = 0; k < sum.count; ++k) level = std::max(level, levels[sum.terms[k].source]);
        levels.push_back(level + 1);
    }
    return *std::max_element(levels.begin(), levels.end());
}

} // namespace

// Plans `weights` (rows, columns). `sums`: by sum the number of its terms, and source, shift, sign of three terms;
// `outputs`: by row source, shift, sign; source -1 where the row is 0. The number of sums, or -1 if there is no room.
extern "C" int64_t plan_sums(const int64_t *weights, int64_t rows, int64_t columns, int64_t low, int64_t high, int64_t arity,
                             int64_t chain_bits, int64_t feed, int64_t max_depth, const double *preferences, int64_t count,
                             int64_t *sums, int64_t capacity, int64_t *outputs) {
    const Problem problem{{arity, chain_bits, feed}, columns, {low, high}, max_depth};
    std::vector<std::vector<int64_t>> lines;
    std::vector<Form> values;
    std::vector<Term> where(rows); // by row the line that it is equal to, with shift and sign
    std::vector<std::pair<std::vector<int64_t>, int32_t>> known;
    for (int64_t r = 0; r < rows; ++r) {
        std::vector<int64_t> row(weights + r * columns, weights + (r + 1) * columns);
        int64_t all = 0, positive = 0;
        for (int64_t v : row) all |= v, positive += (v > 0) - (v < 0);
        if (!all) {
            where[r] = {-1, 0, 1};
            continue;
        }
        const int16_t shift = __builtin_ctzll(all);
        for (int64_t &v : row) v >>= shift;
        std::vector<int64_t> opposite(row);
        for (int64_t &v : opposite) v = -v;
        int32_t line = -1;
        int16_t sign = 1;
        for (const auto &[other, l] : known)
            if (other == row) line = l, sign = 1;
            else if (other == opposite) line = l, sign = -1;
        if (line < 0) {
            line = lines.size();
            Form form;
            for (int32_t c = 0; c < columns; ++c)
                if (row[c]) form.push_back({c, row[c]});
            lines.push_back(row);
            values.push_back(form);
            known.push_back({row, line});
        }
        where[r] = {line, shift, sign};
    }
    std::vector<Sum> best;
    std::vector<Term> results;
    int64_t least = -1;
    for (int64_t p = 0; p < count; ++p) {
        const double *given = preferences + 5 * p;
        const Preference preference{given[0], given[1], given[2], uint64_t(given[3]), int64_t(given[4])};
        std::vector<Terms> terms = decomposed(lines, columns, preference.chain);
        Trees trees(problem, Subexpressions(problem, std::move(terms), values, preference).solve());
        trees.dissolve();
        std::vector<Sum> made;
        std::vector<Term> terms_of;
        trees.build(made, terms_of);
        const int64_t cost = trees.cost() * (DEPTH_PERIOD + depth_of(made, columns));
        if (least >= 0 && cost >= least) continue;
        least = cost;
        best.swap(made);
        results.swap(terms_of);
    }
    if (int64_t(best.size()) > capacity) return -1;
    for (size_t i = 0; i < best.size(); ++i) {
        int64_t *row = sums + 10 * i;
        row[0] = best[i].count;
        for (int k = 0; k < best[i].count; ++k)
            row[1 + 3 * k] = best[i].terms[k].source, row[2 + 3 * k] = best[i].terms[k].shift, row[3 + 3 * k] = best[i].terms[k].sign;
    }
    for (int64_t r = 0; r < rows; ++r) {
        int64_t *row = outputs + 3 * r;
        if (where[r].source < 0) {
            row[0] = -1, row[1] = 0, row[2] = 1;
            continue;
        }
        const Term t = results[where[r].source];
        row[0] = t.source, row[1] = t.shift + where[r].shift, row[2] = t.sign * where[r].sign;
    }
    return best.size();
}
