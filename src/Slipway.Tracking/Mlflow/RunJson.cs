using System.Text;
using System.Text.Json;
using Slipway.Contracts.Tracking;

namespace Slipway.Tracking.Mlflow;

/// <summary>Writes runs and metric points as MLflow's messages, from rows as the database has them.</summary>
internal static class RunJson
{
    private static readonly JsonEncodedText InfoName = JsonEncodedText.Encode("info");
    private static readonly JsonEncodedText RunUuid = JsonEncodedText.Encode("run_uuid");
    private static readonly JsonEncodedText RunId = JsonEncodedText.Encode("run_id");
    private static readonly JsonEncodedText ExperimentId = JsonEncodedText.Encode("experiment_id");
    private static readonly JsonEncodedText RunName = JsonEncodedText.Encode("run_name");
    private static readonly JsonEncodedText UserId = JsonEncodedText.Encode("user_id");
    private static readonly JsonEncodedText Status = JsonEncodedText.Encode("status");
    private static readonly JsonEncodedText StartTime = JsonEncodedText.Encode("start_time");
    private static readonly JsonEncodedText EndTime = JsonEncodedText.Encode("end_time");
    private static readonly JsonEncodedText ArtifactUri = JsonEncodedText.Encode("artifact_uri");
    private static readonly JsonEncodedText LifecycleStage = JsonEncodedText.Encode("lifecycle_stage");
    private static readonly JsonEncodedText Data = JsonEncodedText.Encode("data");
    private static readonly JsonEncodedText Metrics = JsonEncodedText.Encode("metrics");
    private static readonly JsonEncodedText Params = JsonEncodedText.Encode("params");
    private static readonly JsonEncodedText Tags = JsonEncodedText.Encode("tags");
    private static readonly JsonEncodedText Inputs = JsonEncodedText.Encode("inputs");
    private static readonly JsonEncodedText Key = JsonEncodedText.Encode("key");
    private static readonly JsonEncodedText Value = JsonEncodedText.Encode("value");
    private static readonly JsonEncodedText Timestamp = JsonEncodedText.Encode("timestamp");
    private static readonly JsonEncodedText Step = JsonEncodedText.Encode("step");

    /// <summary>Writes one run.</summary>
    public static void Write(Utf8JsonWriter json, RunRows rows, int index)
    {
        ref readonly var info = ref rows[index];
        json.WriteStartObject();
        json.WriteStartObject(InfoName);
        json.WriteString(RunUuid, rows.Utf8(info.RunId));
        json.WriteString(RunId, rows.Utf8(info.RunId));
        json.WriteString(ExperimentId, ExperimentStore.Text(info.Experiment));
        json.WriteString(RunName, rows.Utf8(info.Name));
        json.WriteString(UserId, rows.Utf8(info.User));
        json.WriteString(Status, rows.Utf8(info.Status));
        json.WriteNumber(StartTime, info.StartMs);
        if (info.EndMs is { } end)
        {
            json.WriteNumber(EndTime, end);
        }

        var location = info.Location is { } chosen ? Encoding.UTF8.GetString(rows.Utf8(chosen)) : $"mlflow-artifacts:/{ExperimentStore.Text(info.Experiment)}";
        json.WriteString(ArtifactUri, $"{location}/{Encoding.UTF8.GetString(rows.Utf8(info.RunId))}/artifacts");
        json.WriteString(LifecycleStage, rows.Utf8(info.Stage));
        json.WriteEndObject();

        json.WriteStartObject(Data);
        // Empty lists are left out, as protobuf's JSON does.
        if (rows.Metrics(info.Run) is { IsEmpty: false } metrics)
        {
            json.WriteStartArray(Metrics);
            foreach (ref readonly var metric in metrics)
            {
                json.WriteStartObject();
                json.WriteString(Key, rows.Utf8(metric.Key));
                WriteValue(json, metric.Value);
                json.WriteNumber(Timestamp, metric.AtMs);
                json.WriteNumber(Step, metric.Step);
                json.WriteEndObject();
            }

            json.WriteEndArray();
        }

        WritePairs(json, Params, rows, rows.Parameters(info.Run));
        WritePairs(json, Tags, rows, rows.Tags(info.Run));
        json.WriteEndObject();

        var (inputs, modelInputs, modelOutputs) = (rows.Inputs(info.Run), rows.ModelInputs(info.Run), rows.ModelOutputs(info.Run));
        json.WritePropertyName(Inputs);
        if (inputs.Count + modelInputs.Count == 0)
        {
            json.WriteStartObject();
            json.WriteEndObject();
        }
        else
        {
            // Few runs have many of these, so that objects are cheap enough.
            JsonSerializer.Serialize(json, RunEndpoints.Inputs(inputs, modelInputs), MlflowJson.Options);
        }

        if (modelOutputs.Count > 0)
        {
            json.WritePropertyName("outputs"u8);
            JsonSerializer.Serialize(json, RunEndpoints.Outputs(modelOutputs), MlflowJson.Options);
        }

        json.WriteEndObject();
    }

    /// <summary>Writes one point of a history.</summary>
    public static void WritePoint(Utf8JsonWriter json, JsonEncodedText key, double value, long atMs, long step)
    {
        json.WriteStartObject();
        json.WriteString(Key, key);
        WriteValue(json, value);
        json.WriteNumber(Timestamp, atMs);
        json.WriteNumber(Step, step);
        json.WriteEndObject();
    }

    private static void WriteValue(Utf8JsonWriter json, double value)
    {
        if (double.IsNaN(value))
        {
            json.WriteString(Value, "NaN"u8);
        }
        else
        {
            json.WriteNumber(Value, value);
        }
    }

    private static void WritePairs(Utf8JsonWriter json, JsonEncodedText name, RunRows rows, ReadOnlySpan<RunRows.Pair> pairs)
    {
        if (pairs.IsEmpty)
        {
            return;
        }

        json.WriteStartArray(name);
        foreach (ref readonly var pair in pairs)
        {
            json.WriteStartObject();
            json.WriteString(Key, rows.Utf8(pair.Key));
            json.WriteString(Value, rows.Utf8(pair.Value));
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }
}
