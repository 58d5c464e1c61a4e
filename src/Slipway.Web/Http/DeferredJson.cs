using System.Text.Json;
using System.Text.Json.Serialization;
using Slipway.Contracts;

namespace Slipway.Web.Http;

/// <summary>
/// Leaves the description of a request's or response's type to the first request that needs it. A handler asks for it when it is made, all
/// handlers are made before the first request is routed, and describing some hundreds of types was a third of a server's start.
/// The values are written and read with <see cref="JsonDefaults.Options"/>.
/// </summary>
internal sealed class DeferredJson : JsonConverterFactory
{
    public override bool CanConvert(Type typeToConvert) => typeToConvert != typeof(object);

    public override JsonConverter CreateConverter(Type typeToConvert, JsonSerializerOptions options) =>
        (JsonConverter)Activator.CreateInstance(typeof(Converter<>).MakeGenericType(typeToConvert))!;

    private sealed class Converter<T> : JsonConverter<T>
    {
        public override T? Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) => JsonSerializer.Deserialize<T>(ref reader, JsonDefaults.Options);

        public override void Write(Utf8JsonWriter writer, T value, JsonSerializerOptions options) => JsonSerializer.Serialize(writer, value, JsonDefaults.Options);
    }
}
