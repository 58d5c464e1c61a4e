using System.Collections.Concurrent;
using Slipway.Contracts;
using Slipway.Contracts.FeatureStore;
using Slipway.Contracts.Registry;
using Slipway.FeatureStore;

namespace Slipway.Serving;

/// <summary>Lets requests bring the feature service's inputs instead of features: the online store and the on-demand expressions make the rest.</summary>
internal sealed class FeatureServing(FeatureRegistry features, OnlineStore online)
{
    /// <summary>The inputs of the version's feature service; null when the service is not defined here, so that only features are taken.</summary>
    /// <exception cref="SlipwayException">FailedPrecondition: the service makes other features than the version was trained on.</exception>
    public RequestInputs? InputsOf(ModelVersionRecord version)
    {
        var schema = version.FeatureSchema;
        if (features.FindService(schema.Service, schema.ServiceVersion) is not { } service)
        {
            return null;
        }

        if (!service.FeatureNames.SequenceEqual(schema.Features.Select(feature => feature.Name)))
        {
            throw new SlipwayException(ErrorCode.FailedPrecondition,
                $"Version {version.Version} of '{version.Model}' cannot be served: feature service {schema.Service}@{schema.ServiceVersion} makes {string.Join(", ", service.FeatureNames)}, but the version was trained on {string.Join(", ", schema.Features.Select(feature => feature.Name))}.");
        }

        var keys = service.Views.Where(view => !view.Definition.OnDemand)
            .SelectMany(view => view.Definition.Keys.Select(key => service.Definition.Keys.TryGetValue(view.Definition.Entity, out var inputs) ? inputs[key] : key))
            .ToHashSet(StringComparer.Ordinal);
        return new RequestInputs(
            [.. service.Inputs.Select(input => new RequestInput(input.Name, Datatypes(input), keys.Contains(input.Name), input.Name == service.Definition.EventTime))],
            new Completion(service, online.CreateVectorBuilder(service)).Build);
    }

    private static string[] Datatypes(FeatureInput input) => input.Type switch
    {
        "string" => ["BYTES"],
        "timestamp" => ["INT64", "BYTES"],
        "boolean" => ["BOOL"],
        "int32" => ["INT32", "INT64"],
        "int64" => ["INT64", "INT32"],
        "float64" => ["FP64", "FP32"],
        _ => ["FP32", "FP64"],
    };

    /// <summary>One service's rows; request objects are used again.</summary>
    private sealed class Completion(FeatureServiceRecord service, FeatureVectorBuilder builder)
    {
        private readonly ConcurrentBag<FeatureRequest> _free = [];

        public string? Build(ReadOnlySpan<InputValue> values, long eventMs, Span<float> vector, Span<long> ageMs)
        {
            var mine = _free.TryTake(out var used) ? used : service.NewRequest();
            try
            {
                return Build(values, eventMs, vector, ageMs, mine);
            }
            finally
            {
                _free.Add(mine);
            }
        }

        private string? Build(ReadOnlySpan<InputValue> values, long eventMs, Span<float> vector, Span<long> ageMs, FeatureRequest request)
        {
            request.Clear();
            request.ReceivedAtMs = eventMs;
            for (var i = 0; i < values.Length; i++)
            {
                ref readonly var value = ref values[i];
                var fits = value.Text is { } text ? request.TrySet(i, text.AsSpan()) : value.IsInteger ? request.TrySet(i, value.Integer) : request.TrySet(i, value.Number);
                if (!fits)
                {
                    return $"Input '{service.Inputs[i].Name}' does not hold a {service.Inputs[i].Type}; send {Sendable(service.Inputs[i].Type)}.";
                }
            }

            return builder.TryBuild(request, vector, ageMs, out var error) ? null : error;
        }

        private static string Sendable(string type) => type switch
        {
            "timestamp" => "Unix milliseconds, or ISO 8601 text such as 2001-05-01T08:30:00Z",
            "int32" => "a whole number of 32 bits",
            _ => $"a {type}",
        };
    }
}
