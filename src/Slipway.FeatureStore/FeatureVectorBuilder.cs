using System.Buffers;
using Slipway.Contracts.FeatureStore;
using Slipway.FeatureStore.Expressions;
using Slipway.Storage;

namespace Slipway.FeatureStore;

/// <summary>What is known about one online feature.</summary>
internal enum OnlineStatus
{
    Present,
    NullValue,
    NotFound,
    OutsideMaxAge,
}

/// <summary>One online feature, for people and tools.</summary>
/// <param name="Value">Null unless present.</param>
/// <param name="Status">Why there is no value, if there is none.</param>
/// <param name="EventTimeMs">When it came to be; 0 when not found.</param>
internal readonly record struct OnlineFeature(double? Value, OnlineStatus Status, long EventTimeMs);

/// <summary>
/// Makes the feature vector of a request: keyed features from the online store, on-demand features from the request. Everything is
/// resolved when it is made, so that a call is lookups and arithmetic, and allocates nothing. Safe for many threads, each with its
/// own <see cref="FeatureRequest"/>.
/// </summary>
public sealed class FeatureVectorBuilder
{
    private readonly KeyedView[] _keyedViews;
    private readonly (Expression Expression, int Position)[] _onDemand;
    private readonly int[] _neededInputs;

    internal FeatureVectorBuilder(FeatureServiceRecord service, KeyValueStore values)
    {
        FeatureNames = service.FeatureNames;
        Inputs = service.Inputs;
        var positions = service.Features.Select((feature, position) => (feature, position)).ToList();
        int IndexOf(string input) => service.Inputs.Select(candidate => candidate.Name).ToList().IndexOf(input);

        _keyedViews = [.. service.Views.Where(view => !view.Definition.OnDemand).Select(view => new KeyedView(
            values.Reader(view.Id),
            [.. service.InputsOfKeys(view.Definition).Select(IndexOf)],
            view.Definition.Ttl is { } ttl ? (long)ttl.TotalMilliseconds : long.MaxValue,
            OnlineValue.Size(view.Definition.Features.Count),
            [.. positions.Where(pair => pair.feature.View.Id == view.Id)
                .Select(pair => (view.Definition.Features.Select(feature => feature.Name).ToList().IndexOf(pair.feature.Feature.Name), pair.position))]))];
        _onDemand = [.. positions.Where(pair => pair.feature.View.Definition.OnDemand)
            .Select(pair => (ExpressionParser.ParseFeature(pair.feature.Feature.Expression!, service.Inputs), pair.position))];

        var named = service.Features.Where(feature => feature.View.Definition.OnDemand).SelectMany(feature => feature.View.Definition.Inputs.Select(input => input.Name))
            .Concat(service.Definition.EventTime is { } eventTime ? [eventTime] : []);
        _neededInputs = [.. _keyedViews.SelectMany(view => view.KeyInputs).Concat(named.Select(IndexOf)).Distinct().Order()];
    }

    /// <summary>References in the order of the vector.</summary>
    public IReadOnlyList<string> FeatureNames { get; }

    /// <summary>The request inputs, as positions of <see cref="FeatureRequest"/>.</summary>
    public IReadOnlyList<FeatureInput> Inputs { get; }

    /// <summary>Fills one row.</summary>
    /// <param name="row">The request's values; every input that a feature needs must be set, if only to null.</param>
    /// <param name="vector">One place per feature; a missing or null value is NaN.</param>
    /// <param name="ageMs">One place per feature: how old the value is at the event time; 0 for on-demand features, −1 for entities the online store does not know.</param>
    /// <param name="error">One sentence when an input is missing; else null.</param>
    public bool TryBuild(FeatureRequest row, Span<float> vector, Span<long> ageMs, out string? error)
    {
        if (!TryCheck(row, out error))
        {
            return false;
        }

        var eventTimeMs = row.EventTimeMs;
        foreach (var view in _keyedViews)
        {
            var value = view.Find(row);
            var age = value is null ? -1 : Math.Max(0, eventTimeMs - OnlineValue.EventTimeMs(value));
            foreach (var (feature, position) in view.Features)
            {
                vector[position] = value is null || age > view.TtlMs ? float.NaN : (float)OnlineValue.Number(value, feature);
                ageMs[position] = age;
            }
        }

        foreach (var (expression, position) in _onDemand)
        {
            vector[position] = expression.TryNumber(row, out var number) ? (float)number : float.NaN;
            ageMs[position] = 0;
        }

        return true;
    }

    /// <summary>As <see cref="TryBuild"/>, in full precision and with the reason of each missing value.</summary>
    internal OnlineFeature[] Explain(FeatureRequest row)
    {
        var features = new OnlineFeature[FeatureNames.Count];
        var eventTimeMs = row.EventTimeMs;
        foreach (var view in _keyedViews)
        {
            var value = view.Find(row);
            foreach (var (feature, position) in view.Features)
            {
                var status = value is null ? OnlineStatus.NotFound
                    : eventTimeMs - OnlineValue.EventTimeMs(value) > view.TtlMs ? OnlineStatus.OutsideMaxAge
                    : OnlineValue.IsNull(value, feature) ? OnlineStatus.NullValue
                    : OnlineStatus.Present;
                features[position] = new OnlineFeature(
                    status == OnlineStatus.Present ? OnlineValue.Number(value, feature) : null, status, value is null ? 0 : OnlineValue.EventTimeMs(value));
            }
        }

        foreach (var (expression, position) in _onDemand)
        {
            features[position] = expression.TryNumber(row, out var number)
                ? new OnlineFeature(number, OnlineStatus.Present, eventTimeMs)
                : new OnlineFeature(null, OnlineStatus.NullValue, eventTimeMs);
        }

        return features;
    }

    internal bool TryCheck(FeatureRequest row, out string? error)
    {
        foreach (var input in _neededInputs)
        {
            if (row.IsUnset(input))
            {
                error = $"Input '{Inputs[input].Name}' ({Inputs[input].Type}) is missing; send it, or null when there is no value.";
                return false;
            }
        }

        error = null;
        return true;
    }

    /// <summary>One view's part of the vector.</summary>
    /// <param name="Values">Its online values.</param>
    /// <param name="KeyInputs">The inputs behind its keys.</param>
    /// <param name="TtlMs">How old a value may be.</param>
    /// <param name="ValueSize">Of a value in this version's layout.</param>
    /// <param name="Features">Place in the value, place in the vector.</param>
    private sealed record KeyedView(KeyValueReader Values, int[] KeyInputs, long TtlMs, int ValueSize, (int Feature, int Position)[] Features)
    {
        private const int ShortKey = 256;

        public byte[]? Find(FeatureRequest row)
        {
            var length = 0;
            foreach (var input in KeyInputs)
            {
                // A null key matches nothing. The separator inside a text could make two entities one.
                if (row.IsNull(input) || row.Text(input).Contains(OnlineStore.KeySeparator))
                {
                    return null;
                }

                length += Math.Max(24, row.Text(input).Length) + 1;
            }

            char[]? rented = null;
            Span<char> buffer = length <= ShortKey ? stackalloc char[ShortKey] : rented = ArrayPool<char>.Shared.Rent(length);
            var used = 0;
            for (var i = 0; i < KeyInputs.Length; i++)
            {
                if (i > 0)
                {
                    buffer[used++] = OnlineStore.KeySeparator;
                }

                row.TryFormatKey(KeyInputs[i], buffer[used..], out var written);
                used += written;
            }

            var value = Values.Find(buffer[..used]);
            if (rented is not null)
            {
                ArrayPool<char>.Shared.Return(rented);
            }

            return value?.Length == ValueSize ? value : null;
        }
    }
}
