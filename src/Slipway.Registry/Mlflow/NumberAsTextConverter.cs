using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Slipway.Registry.Mlflow;

/// <summary>A version's number, which MLflow's clients write as a text, and people with curl as a number.</summary>
internal sealed class NumberAsTextConverter : JsonConverter<string>
{
    public override string? Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) => reader.TokenType switch
    {
        JsonTokenType.String => reader.GetString(),
        JsonTokenType.Number when reader.TryGetInt64(out var number) => number.ToString(CultureInfo.InvariantCulture),
        _ => throw new JsonException(),
    };

    public override void Write(Utf8JsonWriter writer, string value, JsonSerializerOptions options) => writer.WriteStringValue(value);
}
