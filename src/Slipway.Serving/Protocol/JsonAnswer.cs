using System.Text.Encodings.Web;
using System.Text.Json;

namespace Slipway.Serving.Protocol;

/// <summary>Writes answers as Open Inference JSON, with the bytes that may follow it.</summary>
internal sealed class JsonAnswer
{
    private static readonly JsonEncodedText ModelName = JsonEncodedText.Encode("model_name");
    private static readonly JsonEncodedText ModelVersion = JsonEncodedText.Encode("model_version");
    private static readonly JsonEncodedText Id = JsonEncodedText.Encode("id");
    private static readonly JsonEncodedText OutputsName = JsonEncodedText.Encode("outputs");
    private static readonly JsonEncodedText Name = JsonEncodedText.Encode("name");
    private static readonly JsonEncodedText DatatypeName = JsonEncodedText.Encode("datatype");
    private static readonly JsonEncodedText Fp32 = JsonEncodedText.Encode("FP32");
    private static readonly JsonEncodedText Shape = JsonEncodedText.Encode("shape");
    private static readonly JsonEncodedText Data = JsonEncodedText.Encode("data");
    private static readonly JsonEncodedText Parameters = JsonEncodedText.Encode("parameters");
    private static readonly JsonEncodedText PredictionIdName = JsonEncodedText.Encode("prediction_id");
    private static readonly JsonEncodedText BinaryDataSize = JsonEncodedText.Encode("binary_data_size");
    private static readonly JsonEncodedText OldestName = JsonEncodedText.Encode("feature_age_max_ms");
    private static readonly JsonEncodedText ArmName = JsonEncodedText.Encode("arm");
    private static readonly JsonEncodedText ErrorName = JsonEncodedText.Encode("error");
    private static readonly JsonEncodedText[] ArmNames = [.. Enum.GetValues<ArmRole>().Select(role => JsonEncodedText.Encode(Arm.NameOf(role)))];

    private Utf8JsonWriter Json { get; } = new(Stream.Null, new JsonWriterOptions { SkipValidation = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping });

    [ThreadStatic]
    private static JsonAnswer? mine;

    public static JsonAnswer Mine => mine ??= new JsonAnswer();

    /// <summary>The short way: the one output of a version that scores features, as JSON. Allocates nothing.</summary>
    public void Write(InferScratch from, Arm arm)
    {
        Begin(from.Response, arm, from.Request.Id, from.PredictionId);
        Json.WriteStartObject();
        Json.WriteString(Name, arm.Model.EncodedOutputName);
        Json.WriteString(DatatypeName, Fp32);
        Json.WriteStartArray(Shape);
        Json.WriteNumberValue(from.Request.Rows);
        Json.WriteNumberValue(1);
        Json.WriteEndArray();
        Json.WriteStartArray(Data);
        foreach (var output in from.Request.Outputs)
        {
            Json.WriteNumberValue(output);
        }

        Json.WriteEndArray();
        Json.WriteEndObject();
        End(from, arm);
    }

    /// <summary>Any outputs; returns the JSON's length when bytes follow it, null when none do.</summary>
    /// <param name="from">The scored request.</param>
    /// <param name="arm">Who scored it.</param>
    /// <param name="fault">Why JSON cannot carry them; null when it can.</param>
    public long? WriteTensors(InferScratch from, Arm arm, out string? fault)
    {
        var outputs = from.Outputs(arm.Model);
        var binary = from.Tensors?.BinaryOutput ?? from.Request.BinaryOutput;
        fault = outputs.Where(output => !(output.Binary ?? binary)).Select(output => output.CheckJson()).FirstOrDefault(found => found is not null);
        if (fault is not null)
        {
            fault += "; ask for it as bytes: {\"name\": \"…\", \"parameters\": {\"binary_data\": true}} among 'outputs'.";
            return null;
        }

        Begin(from.Response, arm, from.IsTensors ? System.Text.Encoding.UTF8.GetBytes(from.Tensors!.Id) : from.Request.Id, from.PredictionId);
        var follows = false;
        foreach (var output in outputs)
        {
            Json.WriteStartObject();
            Json.WriteString(Name, output.Name);
            Json.WriteString(DatatypeName, output.Datatype.Name());
            Json.WriteStartArray(Shape);
            foreach (var size in output.Shape)
            {
                Json.WriteNumberValue(size);
            }

            Json.WriteEndArray();
            if (output.Binary ?? binary)
            {
                follows = true;
                Json.WriteStartObject(Parameters);
                Json.WriteNumber(BinaryDataSize, output.Data.Length);
                Json.WriteEndObject();
            }
            else
            {
                Json.WriteStartArray(Data);
                for (var at = 0; at < output.Data.Length;)
                {
                    output.Write(Json, ref at);
                }

                Json.WriteEndArray();
            }

            Json.WriteEndObject();
        }

        End(from, arm);
        if (!follows)
        {
            return null;
        }

        var length = from.Response.Written.Length;
        foreach (var output in outputs.Where(output => output.Binary ?? binary))
        {
            from.Response.Write(output.Data);
        }

        return length;
    }

    /// <summary><c>{"error"}</c></summary>
    public void WriteError(ResponseBuffer into, string message)
    {
        into.Clear();
        Json.Reset(into);
        Json.WriteStartObject();
        Json.WriteString(ErrorName, message);
        Json.WriteEndObject();
        Json.Flush();
    }

    private void Begin(ResponseBuffer into, Arm arm, ReadOnlySpan<byte> id, ReadOnlySpan<byte> predictionId)
    {
        into.Clear();
        Json.Reset(into);
        Json.WriteStartObject();
        Json.WriteString(ModelName, arm.Model.EncodedModel);
        Json.WriteString(ModelVersion, arm.Model.EncodedVersion);
        Json.WriteString(Id, id.IsEmpty ? predictionId : id);
        Json.WriteStartArray(OutputsName);
    }

    private void End(InferScratch from, Arm arm)
    {
        Json.WriteEndArray();
        Json.WriteStartObject(Parameters);
        Json.WriteString(PredictionIdName, from.PredictionId);
        Json.WriteString(ArmName, ArmNames[(int)arm.Role]);
        if (from.OldestAgeMs is { } oldest)
        {
            Json.WriteNumber(OldestName, oldest);
        }

        Json.WriteEndObject();
        Json.WriteEndObject();
        Json.Flush();
    }
}
