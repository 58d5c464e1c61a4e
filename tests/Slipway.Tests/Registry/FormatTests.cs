using System.Globalization;
using System.Text;
using System.Text.Json;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Native.Onnx;
using Slipway.Native.Trees;
using Slipway.Native.Xgboost;
using Slipway.Registry.Formats;
using static Slipway.Tests.Registry.RegistryHost;

namespace Slipway.Tests.Registry;

/// <summary>The files under Models were written by LightGBM 4.7 with its own predictions of forty rows beside them, many on a split point, missing or zero.</summary>
public sealed class FormatTests : IAsyncLifetime
{
    private RegistryHost _host = null!;

    public async ValueTask InitializeAsync() => _host = await RegistryHost.StartAsync();

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Theory]
    [Trait("capability", "INT-07")]
    [InlineData("binary", 1)]
    [InlineData("regression", 1)]
    [InlineData("multiclass", 3)]
    [InlineData("zero-as-missing", 1)]
    public async Task A_LightGBM_model_is_served_as_ONNX_that_answers_as_LightGBM_did(string name, int outputs)
    {
        var version = await RegisterAsync(("booster.txt", File.ReadAllBytes(Fixture($"lightgbm-{name}.txt"))));

        Assert.Equal((ModelFormat.Lightgbm, ModelInspector.MadePath), (version.Format, version.ServedPath));
        Assert.Equal(["age", "amount", "visits", "score"], version.FeatureSchema.Features.Select(feature => feature.Name));
        Assert.Equal([-1L, outputs], Assert.Single(version.Signature.Outputs).Shape);
        var conversion = version.Profile!.Conversion!;
        Assert.Equal(("booster.txt", "thresholds", 2000), (conversion.From, conversion.RowsFrom, conversion.Rows));
        Assert.InRange(conversion.LargestDifference, 0, 1e-6);

        using var expected = JsonDocument.Parse(File.ReadAllBytes(Fixture($"lightgbm-{name}.json")));
        float[] rows = [.. expected.RootElement.GetProperty("rows").EnumerateArray().SelectMany(row => row.EnumerateArray()).Select(value => value.ValueKind == JsonValueKind.Null ? float.NaN : value.GetSingle())];
        double[] theirs = [.. expected.RootElement.GetProperty("outputs").EnumerateArray().SelectMany(row => row.EnumerateArray()).Select(value => value.GetDouble())];
        using var session = OnnxSession.Load(await _host.Registry.ReadFileAsync(version, ModelInspector.MadePath, default));
        var ours = new float[theirs.Length];
        session.RunMatrix(rows, 40, ours);
        Assert.True(theirs.Zip(ours, (their, our) => Math.Abs(their - our)).Max() < 1e-6);
        Assert.True(theirs.Max() - theirs.Min() > 0.2, "The model learnt nothing, so agreement would mean nothing.");
    }

    [Theory]
    [Trait("capability", "INT-07")]
    [InlineData("linear", "linear trees (linear_tree)")]
    [InlineData("categorical", "categorical splits")]
    public async Task A_LightGBM_model_without_an_equal_in_ONNX_is_refused_by_name(string name, string message) =>
        await RefusedAsync(message, ("booster.txt", File.ReadAllBytes(Fixture($"lightgbm-{name}.txt"))));

    [Theory]
    [InlineData("objective=binary sigmoid:0.8", "objective=lambdarank", "objective lambdarank")]
    [InlineData("objective=binary sigmoid:0.8", "", "a custom objective")]
    [InlineData("label_index=0", "average_output", "averaged trees (boosting rf)")]
    [InlineData("max_feature_idx=3", "max_feature_idx=0", "splits on a feature that the model has not")]
    [InlineData("left_child=", "left_child=0 ", "lists of different lengths")]
    public async Task A_LightGBM_text_that_says_something_else_is_refused_with_the_reason(string from, string to, string message)
    {
        var text = File.ReadAllText(Fixture("lightgbm-binary.txt"));
        Assert.Contains(from, text, StringComparison.Ordinal);

        await RefusedAsync(message, ("booster.txt", Encoding.UTF8.GetBytes(text.Replace(from, to, StringComparison.Ordinal))));
    }

    [Fact]
    public void A_tree_whose_links_go_in_a_circle_is_refused_before_anything_walks_it()
    {
        var text = File.ReadAllText(Fixture("lightgbm-regression.txt"));
        var line = text.Split('\n').First(line => line.StartsWith("left_child=", StringComparison.Ordinal));
        var circle = "left_child=0" + line[line.IndexOf(' ', StringComparison.Ordinal)..];

        var error = Assert.Throws<OnnxException>(() => LightgbmModel.Read(Encoding.UTF8.GetBytes(text.Replace(line, circle, StringComparison.Ordinal))));

        Assert.Contains("a node with another parent", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [Trait("capability", "INT-07")]
    [InlineData("binary:logistic", false, 1)]
    [InlineData("binary:logistic", true, 1)]
    [InlineData("reg:squarederror", true, 1)]
    [InlineData("count:poisson", false, 1)]
    [InlineData("multi:softprob", true, 3)]
    public async Task An_XGBoost_model_in_either_form_is_converted_and_agrees_with_the_library(string objective, bool binary, int outputs)
    {
        Assert.True(XgboostTrainer.IsAvailable(out var reason), reason);
        var booster = Train(objective, outputs);

        // The name says nothing: what the file is stands in its content.
        var version = await RegisterAsync(("weights.bin", binary ? booster.ToUbj() : booster.Json.ToArray()));

        var conversion = version.Profile!.Conversion!;
        Assert.Equal((ModelFormat.Xgboost, $"xgboost {XgboostTrainer.LibraryVersion}"), (version.Format, conversion.Library));
        Assert.InRange(conversion.LargestDifference, 0, conversion.Tolerance);
        Assert.InRange(conversion.LibraryLargestDifference!.Value, 0, conversion.Tolerance);
        Assert.Equal($"xgboost {XgboostTrainer.LibraryVersion}", version.Profile.Framework);
        Assert.Equal(10 * outputs, conversion.Trees);
        Assert.Equal(["a", "b", "c"], version.FeatureSchema.Features.Select(feature => feature.Name));
    }

    [Fact]
    [Trait("capability", "INT-07")]
    public async Task A_conversion_is_checked_on_the_sample_that_is_given_and_the_sample_must_fit()
    {
        var model = await FileAsync("booster.txt", File.ReadAllBytes(Fixture("lightgbm-binary.txt")));
        var sample = await _host.PutAsync("score,age,amount,visits\n0.1,,0.3,-0.5\n0,1,2,3\n");
        var request = Bare(model) with { SampleSha256 = sample.Sha256 };

        var version = await _host.Registry.RegisterAsync(request, Ada, default);

        Assert.Equal(("sample", 2), (version.Profile!.Conversion!.RowsFrom, version.Profile.Conversion.Rows));
        var other = await _host.PutAsync("colour,shape\n1,2\n");
        var error = await Assert.ThrowsAsync<SlipwayException>(() => _host.Registry.RegisterAsync(request with { SampleSha256 = other.Sha256 }, Ada, default));
        Assert.Contains("has the columns colour, shape, but the model takes age, amount, visits, score", error.Message, StringComparison.Ordinal);
        var swapped = new FeatureSchema("", 0, [.. new[] { "amount", "age", "visits", "score" }.Select(name => new FeatureField(name, "FLOAT"))], []);
        error = await Assert.ThrowsAsync<SlipwayException>(() => _host.Registry.RegisterAsync(Bare(model) with { FeatureSchema = swapped }, Ada, default));
        Assert.Contains("in another order", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_parity_check_would_see_a_condition_that_is_off_by_one_float()
    {
        var model = LightgbmModel.Read(File.ReadAllBytes(Fixture("lightgbm-regression.txt")));
        var rows = ParityRows.AroundSplits(model);
        var onnx = model.ToOnnx();

        // What "x < t" in place of "x <= t" does, the classic mistake: only rows that lie on a split see it.
        var text = string.Join('\n', File.ReadAllLines(Fixture("lightgbm-regression.txt")).Select(line => !line.StartsWith("threshold=", StringComparison.Ordinal) ? line
            : "threshold=" + string.Join(' ', line["threshold=".Length..].Split(' ').Select(value => ((double)MathF.BitDecrement((float)double.Parse(value, CultureInfo.InvariantCulture))).ToString("R", CultureInfo.InvariantCulture)))));
        Assert.True(Difference(onnx) < 1e-5);
        Assert.True(Difference(LightgbmModel.Read(Encoding.UTF8.GetBytes(text)).ToOnnx()) > 0.01);

        double Difference(byte[] bytes)
        {
            using var session = OnnxSession.Load(bytes);
            var actual = new float[rows.Rows];
            session.RunMatrix(rows.Values, rows.Rows, actual);
            var largest = 0d;
            var expected = new double[1];
            for (var i = 0; i < rows.Rows; i++)
            {
                model.Predict(rows.Row(i), expected);
                largest = Math.Max(largest, Math.Abs(expected[0] - actual[i]));
            }

            return largest;
        }
    }

    [Theory]
    [Trait("capability", "REG-01")]
    [InlineData(2)]
    [InlineData(0)]
    public async Task A_pickle_is_listed_and_flagged_and_never_loaded(int protocol)
    {
        var marker = Path.Combine(Path.GetTempPath(), $"slipway-{Guid.NewGuid():N}");
        var pickle = Pickle(protocol, "posix", "system", $"touch {marker}");

        var version = await RegisterAsync(("model.onnx.pkl", pickle));

        Assert.Equal(ModelFormat.Pickle, version.Format);
        Assert.Null(version.ServedPath);
        var scan = Assert.Single(version.Profile!.Pickles);
        Assert.Equal(["posix.system"], scan.Globals);
        Assert.Equal(["posix.system"], scan.Dangerous);
        Assert.True(scan.Whole);
        Assert.Contains("from skl2onnx import to_onnx", version.Profile.NotServed, StringComparison.Ordinal);
        Assert.False(File.Exists(marker));
        Assert.Equal(pickle, await _host.Registry.ReadFileAsync(version, "model.onnx.pkl", default));
    }

    [Fact]
    public async Task A_compressed_pickle_of_scikit_learn_says_its_framework_and_an_archive_names_its_member()
    {
        var content = new MemoryStream();
        using (var zlib = new System.IO.Compression.ZLibStream(content, System.IO.Compression.CompressionLevel.Fastest, leaveOpen: true))
        {
            zlib.Write(Pickle(4, "sklearn.linear_model._logistic", "LogisticRegression", "x"));
        }

        var archive = new MemoryStream();
        using (var zip = new System.IO.Compression.ZipArchive(archive, System.IO.Compression.ZipArchiveMode.Create, leaveOpen: true))
        {
            using var member = zip.CreateEntry("net/data.pkl").Open();
            member.Write(Pickle(2, "builtins", "eval", "1"));
        }

        var version = await RegisterAsync(("model.joblib", content.ToArray()), ("net.pt", archive.ToArray()), ("notes.txt", "see (page 3)"u8.ToArray()));

        Assert.Equal("scikit-learn", version.Profile!.Framework);
        Assert.Equal(["model.joblib", "net.pt!net/data.pkl"], version.Profile.Pickles.Select(scan => scan.Path));
        Assert.Empty(version.Profile.Pickles[0].Dangerous);
        Assert.Equal(["builtins.eval"], version.Profile.Pickles[1].Dangerous);
    }

    [Fact]
    [Trait("capability", "REG-01")]
    public async Task External_data_is_part_of_the_tree_and_taken_into_the_file_that_is_served()
    {
        var model = WithExternalWeight("weights.bin", offset: 4);
        var weights = new byte[12];
        BitConverter.TryWriteBytes(weights.AsSpan(4), 2f);
        BitConverter.TryWriteBytes(weights.AsSpan(8), 3f);

        var version = await RegisterAsync(("onnx/model.onnx", model), ("onnx/weights.bin", weights), ("README.md", "# A model"u8.ToArray()));

        Assert.Equal((ModelFormat.Onnx, ModelInspector.MadePath), (version.Format, version.ServedPath));
        Assert.Equal(["README.md", "onnx/model.onnx", "onnx/weights.bin", ModelInspector.MadePath], version.Files.Select(file => file.Path).Order(StringComparer.Ordinal));
        using var session = OnnxSession.Load(await _host.Registry.ReadFileAsync(version, ModelInspector.MadePath, default));
        var output = new float[2];
        session.RunMatrix([10, 100], 1, output);
        Assert.Equal([20f, 300f], output);
    }

    [Theory]
    [Trait("capability", "REG-23")]
    [InlineData("../secret.bin", "not a relative path")]
    [InlineData("/etc/passwd", "not a relative path")]
    [InlineData("a/../../secret.bin", "not a relative path")]
    [InlineData("a\\b.bin", "not a relative path")]
    [InlineData("*/_ORT_MEM_ADDR_/*", "not a relative path")]
    [InlineData("", "not a relative path")]
    [InlineData("elsewhere.bin", "'files' has no elsewhere.bin")]
    [InlineData("weights.bin", "but that file has 3 bytes")]
    public async Task External_data_that_leads_out_of_the_registered_files_is_refused(string location, string message) =>
        await RefusedAsync(message, ("model.onnx", WithExternalWeight(location, offset: 4)), ("weights.bin", [1, 2, 3]));

    [Fact]
    public async Task A_declared_format_is_checked_a_broken_graph_is_refused_and_other_files_are_stored_with_advice()
    {
        var text = await FileAsync("model.txt", "hello"u8.ToArray());
        var version = await _host.Registry.RegisterAsync(Bare(text), Ada, default);
        Assert.Equal(ModelFormat.Other, version.Format);
        Assert.Null(version.ServedPath);
        Assert.Contains("Export it to ONNX", version.Profile!.NotServed, StringComparison.Ordinal);

        var error = await Assert.ThrowsAsync<SlipwayException>(() => _host.Registry.RegisterAsync(Bare(text) with { Format = ModelFormat.Xgboost }, Ada, default));
        Assert.Contains("'format' says xgboost, but the files are other", error.Message, StringComparison.Ordinal);
        await RefusedAsync("which is not an ONNX model", ("model.onnx", "hello"u8.ToArray()));
        await RefusedAsync("several Onnx models: a.onnx, b.onnx", ("a.onnx", Onnx(1)), ("b.onnx", Onnx(2)));
        await RefusedAsync("An XGBoost model with objective rank:ndcg", ("m.json", Encoding.UTF8.GetBytes(
            """{"learner":{"learner_model_param":{"base_score":"5E-1","num_class":"0","num_feature":"2"},"objective":{"name":"rank:ndcg"}}}""")));
        Assert.Equal(1, _host.Count("model_versions"));
    }

    [Fact]
    [Trait("capability", "REG-11")]
    public async Task An_ONNX_model_without_declarations_takes_its_signature_and_features_from_its_graph()
    {
        var version = await RegisterAsync(("anything", Onnx(0.5)));

        var input = Assert.Single(version.Signature.Inputs);
        Assert.Equal(("features", "FP32"), (input.Name, input.Type));
        Assert.Equal([-1, 2], input.Shape);
        Assert.Equal(["airport:late_rate_7d", "flight:distance"], version.FeatureSchema.Features.Select(feature => feature.Name));
        Assert.Equal(("anything", "slipway"), (version.ServedPath, version.Profile!.Framework));
        Assert.Null(version.RunId ?? version.BaselineSha256 ?? version.EnvironmentSha256);
    }

    private static XgboostBooster Train(string objective, int outputs)
    {
        var random = new Random(5);
        var features = new float[600 * 3];
        var labels = new float[600];
        for (var row = 0; row < 600; row++)
        {
            var values = features.AsSpan(row * 3, 3);
            for (var i = 0; i < 3; i++)
            {
                values[i] = random.NextSingle();
            }

            var signal = values[0] + (0.5f * values[1]);
            labels[row] = outputs == 3 ? (signal < 0.5 ? 0 : signal < 1 ? 1 : 2) : objective == "reg:squarederror" ? 40 * signal : signal > 0.7 ? 1 : 0;
            values[random.Next(3)] = random.Next(4) == 0 ? float.NaN : values[0];
        }

        var parameters = new Dictionary<string, string> { ["max_depth"] = "4", ["eta"] = "0.4" };
        if (outputs > 1)
        {
            parameters["num_class"] = "3";
        }

        return XgboostTrainer.Train(new XgboostData(features, 3, labels), null, new XgboostSettings { Objective = objective, Rounds = 10, Parameters = parameters, FeatureNames = ["a", "b", "c"] });
    }

    // y = x * w, where the model says that w's two floats are somewhere else.
    private static byte[] WithExternalWeight(string location, int offset)
    {
        var tensor = new ProtobufWriter();
        tensor.PackedInts(1, [2]);
        tensor.Int(2, (int)OnnxElementType.Float);
        tensor.Text(8, "w");
        foreach (var (key, value) in new[] { ("location", location), ("offset", offset.ToString(CultureInfo.InvariantCulture)), ("length", "8") })
        {
            var pair = new ProtobufWriter();
            pair.Text(1, key);
            pair.Text(2, value);
            tensor.Message(13, pair);
        }

        tensor.Int(14, 1);
        var model = new ProtobufWriter();
        for (var reader = new ProtobufReader(new OnnxModelWriter("scaled").AddInput("x", OnnxElementType.Float, -1, 2).AddOutput("y", OnnxElementType.Float, -1, 2).AddNode("Mul", ["x", "w"], ["y"]).ToBytes()); reader.Next();)
        {
            if (reader.Field != 7)
            {
                model.Raw(reader.Raw);
                continue;
            }

            var graph = new ProtobufWriter();
            graph.Raw(reader.Bytes);
            graph.Message(5, tensor);
            model.Message(7, graph);
        }

        return model.Written.ToArray();
    }

    private static byte[] Pickle(int protocol, string module, string name, string argument)
    {
        var bytes = new List<byte>();
        if (protocol >= 2)
        {
            bytes.AddRange([0x80, (byte)protocol]);
        }

        void Short(string text)
        {
            bytes.AddRange([0x8C, (byte)text.Length]);
            bytes.AddRange(Encoding.UTF8.GetBytes(text));
            bytes.Add(0x94);
        }

        if (protocol >= 4)
        {
            Short(module);
            Short(name);
            bytes.Add(0x93);
            Short(argument);
            bytes.AddRange([0x85, (byte)'R']);
        }
        else
        {
            bytes.AddRange(Encoding.UTF8.GetBytes($"c{module}\n{name}\n(S'{argument}'\ntR"));
        }

        bytes.Add((byte)'.');
        return [.. bytes];
    }

    private static string Fixture(string name) => Path.Combine(Repository.Root, "tests", "Slipway.Tests", "Registry", "Models", name);

    private static RegisterVersion Bare(params ArtifactFile[] files) => new(Model, "auto", null, files, null, null, null, null, null, null, []);

    private async Task<ArtifactFile> FileAsync(string path, byte[] content)
    {
        var blob = await _host.Blobs.PutAsync(content, default);
        return new ArtifactFile(path, blob.Sha256, blob.SizeBytes);
    }

    private async Task<ModelVersionRecord> RegisterAsync(params (string Path, byte[] Content)[] files)
    {
        var stored = new List<ArtifactFile>();
        foreach (var (path, content) in files)
        {
            stored.Add(await FileAsync(path, content));
        }

        return await _host.Registry.RegisterAsync(Bare([.. stored]), Ada, default);
    }

    private async Task RefusedAsync(string message, params (string Path, byte[] Content)[] files)
    {
        var before = _host.Count("model_versions");
        var error = await Assert.ThrowsAsync<SlipwayException>(() => RegisterAsync(files));
        Assert.Equal(ErrorCode.InvalidArgument, error.Code);
        Assert.Contains(message, error.Message, StringComparison.Ordinal);
        Assert.Equal(before, _host.Count("model_versions"));
    }
}
