using System.Globalization;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Storage.Definitions;

namespace Slipway.Registry.Formats;

/// <summary>What another server speaks.</summary>
public enum RemoteProtocol
{
    /// <summary>The Open Inference Protocol over HTTP: Triton, MLServer, KServe, another Slipway.</summary>
    V2,

    /// <summary>MLflow's scoring server.</summary>
    Mlflow,

    /// <summary>Chat completions as OpenAI's.</summary>
    Openai,
}

/// <summary>A model that another server runs, as a version's file says it.</summary>
/// <param name="Protocol">What that server speaks.</param>
/// <param name="Url">Its address, without the protocol's own path.</param>
/// <param name="Model">The model's name there; null with MLflow, whose servers have one.</param>
/// <param name="Version">The version there; null for the one that answers there without being named.</param>
/// <param name="Timeout">How long an answer may take, 1 ms to 10 minutes.</param>
/// <param name="Binary">Whether tensors go and come as bytes behind the JSON, which only some servers know.</param>
/// <param name="Columns">MLflow: the names of the table's columns; empty sends tensors by name.</param>
/// <param name="System">OpenAI: what is said before the text; null for nothing.</param>
/// <param name="Temperature">OpenAI's; null leaves it to that server.</param>
/// <param name="TokensMax">OpenAI: most tokens of an answer; null leaves it to that server.</param>
/// <param name="Signature">What requests send and answers hold.</param>
public sealed record RemoteModelFile(
    RemoteProtocol Protocol, Uri Url, string? Model, string? Version, TimeSpan Timeout, bool Binary, IReadOnlyList<string> Columns, string? System, double? Temperature, int? TokensMax,
    ModelSignature Signature)
{
    /// <summary>What the file says it is.</summary>
    public const string Kind = "remote_model";

    /// <summary>Reads a version's file.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: all faults in one sentence.</exception>
    public static RemoteModelFile Parse(string text)
    {
        var yaml = DefinitionYaml.Parse(text);
        if (yaml.Text("kind") is var kind && kind != Kind)
        {
            yaml.Fault("kind", $"must be {Kind}, not '{kind}'");
        }

        if (!yaml.Has("protocol"))
        {
            yaml.Fault("protocol", "is missing; give it v2, mlflow or openai");
        }

        var protocol = yaml.OptionalChoice<RemoteProtocol>("protocol") ?? RemoteProtocol.V2;
        var address = yaml.Text("url");
        if (!Uri.TryCreate(address.TrimEnd('/') + "/", UriKind.Absolute, out var url) || url.Scheme is not ("http" or "https") || url.UserInfo.Length > 0 || url.Query.Length > 0 || url.Fragment.Length > 0)
        {
            yaml.Fault("url", "must be an address such as http://models.internal:8000, without user, password or query; what proves who asks is given to the server with --remote-host");
            url = new Uri("http://localhost/");
        }

        var timeoutMs = yaml.OptionalInteger("timeout_ms", 1, 600_000) ?? 5_000;
        var model = yaml.OptionalText("model");
        var version = yaml.OptionalText("version");
        var isOpenAi = protocol == RemoteProtocol.Openai;
        if (protocol == RemoteProtocol.Mlflow ? model is not null || version is not null : model is null)
        {
            yaml.Fault("model", protocol == RemoteProtocol.Mlflow ? "has no meaning with mlflow, whose servers have one model; leave it and 'version' out" : "is missing; give the model's name on that server");
        }

        var signature = new ModelSignature(Fields(yaml, "inputs"), Fields(yaml, "outputs"));
        var binary = yaml.OptionalBool("binary") ?? false;
        var columns = yaml.Has("columns") ? yaml.Texts("columns") : [];
        var file = new RemoteModelFile(
            protocol, url, model, version, TimeSpan.FromMilliseconds(timeoutMs), binary, columns, yaml.OptionalText("system"), yaml.OptionalNumber("temperature", 0, 10), yaml.OptionalInteger("max_tokens", 1),
            isOpenAi && signature is { Inputs: [], Outputs: [] } ? Text : signature);
        file.Check(yaml);
        yaml.Done();
        return file;
    }

    // Texts in, one answer each.
    private static ModelSignature Text { get; } = new([new SignatureField("text_input", "BYTES", [-1])], [new SignatureField("text_output", "BYTES", [-1])]);

    private void Check(DefinitionYaml yaml)
    {
        foreach (var (key, isGiven, only) in new[]
            { ("binary", Binary, RemoteProtocol.V2), ("version", Version is not null, RemoteProtocol.V2), ("columns", Columns.Count > 0, RemoteProtocol.Mlflow), ("system", System is not null, RemoteProtocol.Openai),
                ("temperature", Temperature is not null, RemoteProtocol.Openai), ("max_tokens", TokensMax is not null, RemoteProtocol.Openai) })
        {
            if (isGiven && Protocol != only && !(key == "version" && Protocol == RemoteProtocol.Mlflow))
            {
                yaml.Fault(key, $"is for protocol {only.ToString().ToLowerInvariant()} alone; leave it out");
            }
        }

        if (Protocol == RemoteProtocol.Openai)
        {
            if (Signature is not { Inputs: [{ Type: "BYTES", Shape: [-1] }], Outputs: [{ Type: "BYTES", Shape: [-1] }] })
            {
                yaml.Fault("inputs", "must be left out with openai, or be one BYTES [-1] with one such output: a text in, a text out");
            }

            return;
        }

        foreach (var (key, fields) in new[] { ("inputs", Signature.Inputs), ("outputs", Signature.Outputs) })
        {
            if (fields.Count == 0)
            {
                yaml.Fault(key, "is missing; list the tensors, such as {name: features, datatype: FP32, shape: [-1, 30]}, as that server's metadata tells them");
            }
            else if (!Binary && fields.FirstOrDefault(field => field.Type is "FP16" or "BF16") is { } half)
            {
                yaml.Fault(key, $"has '{half.Name}' of {half.Type}, which JSON has no numbers for; set 'binary: true' where that server can take bytes");
            }
        }

        if (Columns.Count > 0 && Signature.Inputs is not [{ Type: not "BYTES", Shape: [-1, var width] }])
        {
            yaml.Fault("columns", "is for one input of rows and columns, such as {name: features, datatype: FP32, shape: [-1, 3]}");
        }
        else if (Columns.Count > 0 && Signature.Inputs[0].Shape[1] != Columns.Count)
        {
            yaml.Fault("columns", string.Create(CultureInfo.InvariantCulture, $"names {Columns.Count} columns, but the input has {Signature.Inputs[0].Shape[1]}"));
        }
    }

    /// <param name="yaml">The file.</param>
    /// <param name="key">Of a list of tensors.</param>
    /// <param name="each">Reads what else an entry has.</param>
    internal static IReadOnlyList<SignatureField> Fields(DefinitionYaml yaml, string key, Action<DefinitionYaml>? each = null)
    {
        var fields = new List<SignatureField>();
        foreach (var item in yaml.Has(key) ? yaml.Maps(key) : [])
        {
            var datatype = item.Text("datatype");
            if (!Datatypes.Contains(datatype))
            {
                item.Fault("datatype", $"is '{datatype}', which is unknown; give one of {string.Join(", ", Datatypes)}");
            }

            var shape = new List<long>();
            foreach (var size in item.Texts("shape"))
            {
                if (!long.TryParse(size, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var number) || number is < -1 or > int.MaxValue)
                {
                    item.Fault("shape", $"holds '{size}'; give sizes of 0 or more, and -1 for one that varies");
                    number = 0;
                }

                shape.Add(number);
            }

            var name = item.Text("name");
            if (fields.Exists(field => field.Name == name))
            {
                item.Fault("name", $"is '{name}', which another of {key} has");
            }

            each?.Invoke(item);
            fields.Add(new SignatureField(name, datatype, shape));
        }

        return fields;
    }

    private static readonly string[] Datatypes = ["BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "BF16", "FP32", "FP64", "BYTES"];
}
