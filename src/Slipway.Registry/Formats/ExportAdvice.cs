namespace Slipway.Registry.Formats;

/// <summary>What to do with a model that no server here can run.</summary>
internal static class ExportAdvice
{
    public const string ForOther =
        "No file of it is an ONNX, XGBoost or LightGBM model. Export it to ONNX and register that, or serve it through a remote backend.";

    private const string Scikit =
        """
        from skl2onnx import to_onnx
        onnx = to_onnx(model, X[:1].astype("float32"), options={"zipmap": False})
        open("model.onnx", "wb").write(onnx.SerializeToString())
        """;

    private const string Torch =
        """
        import torch
        torch.onnx.export(model.eval(), example_input, "model.onnx", dynamic_axes={"input": {0: "batch"}}, input_names=["input"])
        """;

    private const string Keras =
        """
        import tf2onnx
        tf2onnx.convert.from_keras(model, output_path="model.onnx")
        """;

    /// <summary>Why a pickle is not served and how to export what is in it.</summary>
    public static string ForPickle(string? framework) =>
        $"""
        A pickle is stored and listed but never loaded here: loading one runs whatever code it names. Serve it through a remote backend, or export the model and register that:
        {framework switch
        {
            "pytorch" => Torch,
            "keras" or "tensorflow" => Keras,
            "xgboost" => "model.save_model(\"model.ubj\")",
            "lightgbm" => "model.booster_.save_model(\"model.txt\")",
            "catboost" => "model.save_model(\"model.onnx\", format=\"onnx\")",
            _ => Scikit,
        }}
        """;
}
